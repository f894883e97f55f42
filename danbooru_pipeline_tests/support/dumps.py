"""Made-up dumps and archives: lines as a release or a dump has them, in files, shards and tar files."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from typing import Any

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import SweepReport, bring_posts


def line_of_2021(post_id: int, **more: Any) -> bytes:
    """A line as Danbooru2021 has it, with file and address; a value of None leaves a column out."""
    digest = md5(str(post_id).encode(), usedforsecurity=False).hexdigest()
    record: dict[str, Any] = {
        "id": str(post_id),
        "created_at": "2021-12-31 20:00:00.5 UTC",
        "md5": digest,
        "rating": "s",
        "tag_string": "1girl solo",
        "file_ext": "jpg",
        "file_size": "1000",
        "is_deleted": False,
        "is_banned": False,
        "file_url": f"https://cdn.donmai.us/original/{digest[:2]}/{digest[2:4]}/{digest}.jpg",
    } | more
    return json.dumps({n: v for n, v in record.items() if v is not None}, separators=(",", ":")).encode() + b"\n"


def lines_of_2021(ids: Iterable[int], **more: Any) -> bytes:
    """Lines of several posts."""
    return b"".join(line_of_2021(i, **more) for i in ids)


def shard(number: int, folder: str = "2021") -> str:
    """The path of one shard of the posts."""
    return f"{folder}/posts{number:012d}.json"


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_bytes(data)
    return folder


def tar_of(files: Mapping[str, bytes], *, ends: bool = True) -> bytes:
    """A tar file; without its end on request."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        end = archive.offset
    return packed.getvalue() if ends else packed.getvalue()[:end]


def bring_2021(source: Any, layout: Layout) -> SweepReport:
    """Load the posts of 2021 three weeks later, without progress."""
    return bring_posts(source, layout, 2021, now=datetime(2022, 1, 20, tzinfo=UTC), progress=lambda _line: None)
