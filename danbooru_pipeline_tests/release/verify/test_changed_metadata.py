"""A list of changes names each post whose metadata changed since the year before, as far as that year's lines tell."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import posts_table, type_batch
from danbooru_pipeline.posts.completed import completed
from danbooru_pipeline.posts.dialect_2021 import encode_2021_complete
from danbooru_pipeline.posts.lines import LineTyper
from danbooru_pipeline.release import verify_release
from danbooru_pipeline.release.change_rows import TELLING
from danbooru_pipeline.release.verify.changed_metadata import COLUMNS, changed_posts, typed_lines
from danbooru_pipeline.sources.json_lines import JsonLines
from danbooru_pipeline_tests.support.damage import edit_table, linked_copy, put, resum
from danbooru_pipeline_tests.support.odd_batches import batches
from danbooru_pipeline_tests.support.odd_lines import MD5, blocks_of_odd_lines, odd_line
from danbooru_pipeline_tests.support.yard import Yard, small_yard

TYPER = LineTyper()
LABEL = "2022-from-2021"
#: What a ledger says of a changed post.
IN_LEDGER: dict[str, dict[str, Any]] = {
    "md5": {"md5": "1" * 32},
    "file_ext": {"ext": "png"},
    "is_banned": {"reason": Reason.BANNED},
}
#: Column -> its values in 2021 and 2022. The post of each has the number of its place, from `FIRST` on.
CHANGED: dict[str, tuple[Any, Any]] = {
    "md5": ("0" * 32, "1" * 32),
    "file_ext": ("jpg", "png"),
    "source": ("", "https://example.org/<&>"),
    "parent_id": (None, 1002),
    "pixiv_id": (77, None),
    "is_deleted": (False, True),
    "is_banned": (False, True),
    "is_flagged": (None, True),
    "tag_string_general": ("1girl solo", "1girl solo 火"),
    "tag_string_artist": (None, "someone"),
    "tag_string_copyright": ("42", ""),
    "tag_string_character": ("someone", None),
    "tag_string_meta": ("tag_1", "7"),
}
#: Values that a line does not tell from others, or does not have.
ALIKE: tuple[dict[str, Any], ...] = (
    {"source": None, "extra": '{"source":123}'},
    {"parent_id": None, "extra": '{"parent_id":1.5}'},
    {"is_flagged": None, "extra": '{"is_flagged":"maybe"}'},
    {"is_deleted": None, "tag_string_meta": None},
    {"source": "12", "tag_string_meta": "7", "parent_id": 0},
)
FIRST, ODD = 40_001, 40_201


@pytest.fixture(scope="module")
def two_years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of releases of which posts changed by one column each, and of which posts look as if they had."""
    yard = small_yard(tmp_path_factory.mktemp("changed") / "root")
    changed = dict(zip(range(FIRST, FIRST + len(CHANGED)), CHANGED.items(), strict=True))
    alike = dict(zip(range(FIRST + 100, FIRST + 100 + len(ALIKE)), ALIKE, strict=True))
    for id_, (column, (before, _)) in changed.items():
        yard.post(id_, reason=Reason.GONE, **{column: before})
    for id_, values in alike.items():
        yard.post(id_, reason=Reason.GONE, **values)
    yard.post(ODD, reason=Reason.GONE, **odd_row(ODD))
    for id_ in (*changed, *alike, ODD):
        yard.change(id_, md5=yard.rows[id_]["md5"])
    yard.release()
    later = Yard(yard.layout, 2022, {id_: dict(row) for id_, row in yard.rows.items()}, dict(yard.ledger), yard.tables)
    for id_, (column, (_, now)) in changed.items():
        later.rows[id_][column] = now
        later.change(id_, **IN_LEDGER.get(column, {}))
    later.rows[ODD]["raw"] = None
    later.release()
    return yard.layout.releases


def odd_row(post_id: int) -> dict[str, Any]:
    """A post as it is read from a line with values of other types than releases write."""
    plain: dict[str, Any] = dict.fromkeys(("source", "tag_string_artist", "tag_string_meta"), "x")
    plain |= {"id": post_id, "created_at": datetime(2020, 5, 4, tzinfo=UTC), "md5": "1" * 32, "file_ext": "jpg"}
    plain |= {"rating": "s", "is_deleted": True, "parent_id": 5, "updated_at": datetime(2020, 5, 4, tzinfo=UTC)}
    line = encode_2021_complete(posts_table([plain]))
    line = line.replace(b'"is_deleted":true', b'"is_deleted":"t"').replace(b'"parent_id":"5"', b'"parent_id":5')
    (row,) = TYPER.type(line, name="odd").table.to_pylist()
    assert row["raw"]
    assert row["is_deleted"]
    assert row["parent_id"] == 5
    return {name: value for name, value in row.items() if name != "id"}


def seen_as_changed(block: bytes, *, cdn_url: str = "", says_banned: bool = False) -> list[int]:
    """Posts that seem to differ from their lines of the year before, though both years have the same source."""
    typed = JsonLines(block, "posts.json", cdn_url=cdn_url).posts(TYPER).table
    return seen_as_changed_of(completed(typed, says_banned=says_banned))


def seen_as_changed_of(table: pa.Table) -> list[int]:
    """The same of rows of a source."""
    posts = table.sort_by("id")
    for line in encode_2021_complete(posts).splitlines():
        assert parse(line)  # says no key twice
    return list(changed_posts(typed_lines(encode_2021_complete(posts)), posts.select(COLUMNS)))


@given(batches())
def test_posts_of_tables_do_not_differ_from_their_own_lines(batch: pa.RecordBatch) -> None:
    """Whatever types the columns of a table have, a year in which nothing changed has nothing to list."""
    table = completed(type_batch(batch).table, says_banned=False)
    assume(pc.count_distinct(table["id"]).as_py() == table.num_rows)
    assert seen_as_changed_of(table) == []


@given(blocks_of_odd_lines(), st.booleans())
def test_posts_of_any_source_do_not_differ_from_their_own_lines(block: bytes, says_banned: bool) -> None:  # noqa: FBT001
    """Whatever forms the values of lines have, a year in which nothing changed has nothing to list."""
    for cdn_url in ("", "https://cdn.example"):
        assert seen_as_changed(block, cdn_url=cdn_url, says_banned=says_banned) == []


@pytest.mark.parametrize(
    "values",
    [
        {"file_ext": "JPG"},
        {"file_ext": ".jpg"},
        {"file_ext": ""},
        {"file_ext": None},
        {"md5": MD5.upper()},
        {"md5": f"\\x{MD5}"},
        {"md5": None},
        {"tags": [{"id": "1", "name": "1girl", "category": "0"}]},
    ],
)
def test_a_kept_line_is_read_as_sources_are(values: dict[str, Any]) -> None:
    """MD5 and extension in another form, or in the address alone, and tags as a list are no change of metadata."""
    line = odd_line(file_url=f"https://cdn.example/original/01/23/{MD5}.jpg", **values)
    table = completed(TYPER.type(line, name="x").table, says_banned=False)
    assert table["raw"].to_pylist() == [line.decode()] == encode_2021_complete(table).decode().splitlines()
    assert seen_as_changed(line) == []
    before = typed_lines(line)
    for name, value in (("md5", "1" * 32), ("file_ext", "png"), ("tag_string_general", "solo")):
        later = table.set_column(table.schema.get_field_index(name), name, pa.array([value]))
        assert list(changed_posts(before, later.select(COLUMNS))) == [1]


@pytest.fixture
def copy(two_years: Path, tmp_path: Path) -> Path:
    """The later release, to be damaged."""
    return linked_copy(two_years / "danbooru2022", tmp_path / "danbooru2022")


def drop_rows(folder: Path, ids: Iterable[int]) -> None:
    """Take the rows of kind metadata_changed of some posts out of the list, and out of the report's number."""
    path, report = folder / f"changes/{LABEL}.parquet", folder / f"changes/{LABEL}.md"
    rows = pq.read_table(path)
    meant = pc.and_(pc.equal(rows["kind"], "metadata_changed"), pc.is_in(rows["id"], pc.cast(sorted(ids), "int64")))
    edit_table(folder, f"changes/{LABEL}.parquet", lambda table: table.filter(pc.invert(meant)))
    left = pc.sum(pc.equal(pq.read_table(path)["kind"], "metadata_changed")).as_py() or 0
    put(report, re.sub(rb"(?<=\| `metadata_changed` \| )[0-9]+", str(left).encode(), report.read_bytes()))


def listed(folder: Path) -> list[int]:
    """Posts that a list names for their metadata."""
    rows = pq.read_table(folder / f"changes/{LABEL}.parquet").to_pylist()
    return [row["id"] for row in rows if row["kind"] == "metadata_changed"]


def found(folder: Path) -> list[str]:
    """What is wrong after all sums were made again."""
    resum(folder)
    return [f"{f.kind} {f.message}" for f in verify_release(folder, threads=1, full=True).findings]


def test_an_honest_list_is_well(two_years: Path) -> None:
    """Whatever values posts have: nothing is missed that both tables of posts have alike."""
    assert tuple(CHANGED) == TELLING
    assert listed(two_years / "danbooru2022") == list(range(FIRST, FIRST + len(CHANGED)))
    for year in (2021, 2022):
        report = verify_release(two_years / f"danbooru{year}", threads=1, full=True)
        assert report.ok, report.lines()


@pytest.mark.parametrize("column", TELLING)
def test_a_change_of_any_column_that_counts_is_missed(copy: Path, column: str) -> None:
    """A post that is left out of the list is named, if it differs from its line whatever the earlier table had."""
    id_ = FIRST + TELLING.index(column)
    drop_rows(copy, [id_])
    assert found(copy) == [f"changes_differ {id_}: metadata_changed is not listed"]


def test_a_list_without_any_change_of_metadata_is_found(copy: Path) -> None:
    """Each post is named that changed."""
    ids = listed(copy)
    drop_rows(copy, ids)
    assert found(copy) == [f"changes_differ {id_}: metadata_changed is not listed" for id_ in ids]


def test_lines_that_are_not_the_recorded_ones_are_no_witness(copy: Path) -> None:
    """As a takedown leaves them; that they differ from what their year recorded is said, and nothing else."""
    (lines,) = copy.glob("metadata/2021/posts*.json")
    put(lines, lines.read_bytes().replace(b'"source":""', b'"source":"elsewhere"'))
    resum(copy)
    said = [(f.kind, f.where) for f in verify_release(copy, threads=1, full=True).findings]
    assert ("changes_differ", f"changes/{LABEL}.parquet") not in said
    assert ("carried_differ", "metadata/2021/posts000000000000.json") in said
