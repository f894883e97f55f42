"""A bucket's build killed with SIGKILL at chosen system calls: no half file, no wrong row, no repeated download.

``KILLS=50 python -m pytest danbooru_pipeline_tests/fetch/test_kill.py`` is the run that benchmarks/README.md reports.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.posts import parse_api_record, posts_table, write_posts
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline_tests.support.pictures import illustration, jpeg
from danbooru_pipeline_tests.support.raw_server import Answer, make_answer, serving
from danbooru_pipeline_tests.support.system_calls import run_program

KILLS = int(os.environ.get("KILLS", "6"))
FILES = 20 + 10 * KILLS
BUCKET = "0000"
WORK = """
import sys
from pathlib import Path
from danbooru_pipeline.store import originals
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.context import RunContext
settings = Settings(
    root=Path(sys.argv[1]), api_url=sys.argv[2], cdn_url=sys.argv[2], workers=1, min_free_bytes=0,
    requests_per_second=60,
)
with RunContext(settings) as context:
    assert originals.build_originals(context, "0000", 2021).pending == 0
"""


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    """Path on the server -> bytes; each is a picture that optimisation makes smaller."""
    picture = jpeg(illustration())
    return {f"/{n * 1000}.jpg": picture + bytes(n) for n in range(1, FILES + 1)}


def counting(files: Mapping[str, bytes], asked: Counter[str]) -> Answer:
    """A server that counts the files it sent completely."""

    def answer(_server: object, connection: object, target: str, _headers: object) -> None:
        connection.sendall(make_answer(files[target]) if target in files else make_answer(status=404))  # type: ignore[attr-defined]
        asked[target] += 1

    return answer


def prepare(root: Path, files: Mapping[str, bytes]) -> Layout:
    """A root that has one bucket's slice of the metadata."""
    layout = Layout(root)
    layout.posts_bucket(2021, BUCKET).parent.mkdir(parents=True)
    layout.posts_report(2021).write_text('{"source": {"max_id": 1}}')
    rows = []
    for target, data in files.items():
        row = parse_api_record(
            {
                "id": int(target[1:-4]),
                "created_at": "2021-06-01T00:00:00.000-04:00",
                "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
                "file_ext": "jpg",
                "file_size": len(data),
                "rating": "s",
                "file_url": target,
            }
        )
        assert isinstance(row, dict)
        rows.append(row)
    with layout.posts_bucket(2021, BUCKET).open("wb") as file:
        write_posts(posts_table(rows), file)
    return layout


def assert_nothing_lies(layout: Layout, originals: Mapping[str, bytes]) -> int:
    """Check that every ok row has exactly its file and every file under a final name is whole. Returns how many."""
    for row in read_ledger(layout.ledger(BUCKET)).values():
        if row.status is Status.OK:
            data = layout.original(row.id, "jpg").read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (row.size, row.sha256)
            assert row.source_md5_matches
    names = list_files(layout.original_bucket(BUCKET))
    for name, size in names.items():
        data = (layout.original_bucket(BUCKET) / name).read_bytes()
        assert data == originals[f"/{name}"] or data[-2:] == b"\xff\xd9", f"{name} of {size} bytes is incomplete"
    return len(names)


@pytest.mark.slow(8)
def test_killed_anywhere_nothing_is_lost_or_wrong(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    """After every kill all rows are true and all files whole; each kill costs at most the downloads in flight."""
    asked = Counter[str]()
    dice = Random(3)
    layout = prepare(tmp_path / "root", files)
    with serving(counting(files, asked)) as server:
        for _ in range(KILLS):
            assert_nothing_lies(layout, files)
            # A file takes some five calls, so that there is always more to do than until the next kill.
            assert run_program(WORK, layout.root, server.url, at=dice.randrange(2, 42)).killed
        had = assert_nothing_lies(layout, files)
        before_last = asked.total()
        assert not run_program(WORK, layout.root, server.url).killed
        assert assert_nothing_lies(layout, files) == FILES
    rows = read_ledger(layout.ledger(BUCKET))
    assert [row.reason for row in rows.values()] == [None] * FILES
    again = asked.total() - before_last - (FILES - had)
    figures = f"{asked.total() - FILES} files were sent again, {again} of them last"
    print(f"{KILLS} kills: {FILES} of {FILES} right, {figures}")  # noqa: T201 - for the benchmark, with -s
    # A file is sent again if it was in flight, or if it was optimised and its row not yet written.
    assert asked.total() - FILES <= KILLS * 8
    assert not list(layout.store.rglob(".*.part"))
