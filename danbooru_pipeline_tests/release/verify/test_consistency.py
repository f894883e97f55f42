"""With every sum made again by hand, verification still tells: what is said twice in a release is said alike."""

import contextlib
import io
import json
import lzma
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.release_json import CONTENT
from danbooru_pipeline.release_paths import CROISSANT
from danbooru_pipeline_tests.support.damage import (
    MARK_PLACES,
    digest,
    edit_json,
    edit_lines,
    edit_table,
    lines_of,
    made_by_0_2,
    move_mark,
    pack_again,
    put,
    resum,
    with_column,
    year_of,
)

Change = Callable[[list[Any]], list[Any]]
K = Kind
NUMBER: Change = lambda values: [(value or 0) + 1 for value in values]  # noqa: E731 - a table of small changes
TEXT: Change = lambda values: ["x" if value is None else f"{value}x" for value in values]  # noqa: E731
FLAG: Change = lambda values: [not value for value in values]  # noqa: E731
LIST: Change = lambda values: [[*(value or ()), "x"] for value in values]  # noqa: E731


def change_of(kind: pa.DataType) -> Change:
    """A change of every value of a column."""
    if pa.types.is_boolean(kind):
        return FLAG
    return LIST if pa.types.is_list(kind) else NUMBER if pa.types.is_integer(kind) else TEXT


def rewritten(folder: Path, pattern: str, column: str) -> None:
    """Change a column of a table."""
    edit_table(folder, pattern, lambda table: with_column(column, change_of(table.schema.field(column).type))(table))


CLAIMS: dict[str, Change] = {
    "source_md5_matches": FLAG,
    "pixel_hash_matches": FLAG,
    "fetched_md5": lambda sums: [sum_ and "0" * 32 for sum_ in sums],
    "optimized": lambda flags: [flag if flag is None else not flag for flag in flags],
    "first_release": NUMBER,
}


@pytest.mark.parametrize("column", CLAIMS)
def test_columns_of_the_manifest_do_not_contradict_each_other(later: Path, column: str) -> None:
    """What follows from other columns of a row, or from the year, is compared with them."""
    edit_table(later, "manifest/files-*", with_column(column, CLAIMS[column]))
    resum(later)
    assert "manifest_row" in verify_release(later, threads=1).counts


@pytest.mark.parametrize(
    ("column", "value"),
    [("optimized", None), ("optimized_by", None), ("kept", "larger"), ("flags", None), ("px512_flags", None)],
)
def test_what_made_a_file_smaller_and_its_flags_are_said_in_every_row(later: Path, column: str, value: object) -> None:
    """No version leaves out whether and by what a file of a known source was optimized, and a list is never null."""
    edit_table(later, "manifest/files-*", with_column(column, lambda values: [value] * len(values)))
    resum(later, lambda release: release["image_settings"].update(px512_rules=6))
    assert "manifest_row" in verify_release(later, threads=1).counts


def test_a_file_of_the_size_of_its_source_is_not_optimized(later: Path) -> None:
    """What an optimiser made is smaller, so a row that says otherwise is found."""
    table = pq.read_table(min(later.glob("manifest/files-*")))
    edit_table(later, "manifest/files-*", with_column("source_size", lambda _: table["size"].to_pylist()))
    resum(later)
    assert "manifest_row" in verify_release(later, threads=1).counts


SOME = ("uploader_id", "score", "source", "image_width", "tag_string", "fav_count", "is_deleted", "file_url")


@pytest.mark.parametrize("column", SOME)
def test_posts_and_their_lines_say_the_same(later: Path, column: str) -> None:
    """A column of Parquet that was changed is found by the JSON lines, in both dialects."""
    rewritten(later, "parquet/posts-*", column)
    resum(later)
    assert "metadata_differs" in verify_release(later, threads=1).counts


@pytest.mark.parametrize("key", ["name", "category"])
def test_lists_of_tags_are_those_of_the_strings(later: Path, key: str) -> None:
    """A release without lines of 2017 still tells that its list of tags names another tag, or of another kind."""
    shutil.rmtree(later / f"metadata/{year_of(later)}-old")
    lie = {"name": "lie", "category": 1}[key]
    changed: Change = lambda lists: [[{**tag, key: lie} for tag in tags] for tags in lists]  # noqa: E731
    edit_table(later, "parquet/posts-*", with_column("tags", changed))
    pack_again(later)
    resum(later)
    findings = verify_release(later, full=True, threads=1).findings
    assert any("tags in its list" in f.message for f in findings), findings


@pytest.mark.parametrize("key", ["score", "rating", "tags", "file_size"])
def test_lines_of_2017_are_compared_too(later: Path, key: str) -> None:
    """A value that was changed in the dialect of 2017 alone is found."""
    (path,) = later.glob(f"metadata/*/{year_of(later)}000000000000.json")
    lines = path.read_text().splitlines()
    lie = [{"id": "1", "name": "x", "category": "0"}] if key == "tags" else "7"
    lines[3] = json.dumps({**json.loads(lines[3]), key: lie}, separators=(",", ":"))
    put(path, "".join(f"{line}\n" for line in lines).encode())
    pack_again(later)
    resum(later)
    report = verify_release(later, threads=1)
    assert [(f.kind, key in f.message) for f in report.findings if f.kind != Kind.SIGNATURE] == [
        (Kind.METADATA_DIFFERS, True)
    ]


@pytest.mark.parametrize("change", [lambda _: None, made_by_0_2])
def test_another_form_of_the_same_line_is_one_of_before_0_3(
    later: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    """A line with its keys in another order says the same, as one that an earlier version wrote may; none of now is."""

    def turned(line: bytes) -> bytes:
        return (json.dumps(dict(reversed(json.loads(line).items()))) + "\n").encode()

    edit_lines(later, lambda lines: [turned(line) for line in lines])
    pack_again(later)
    resum(later, change)
    assert ("metadata_differs" in verify_release(later, threads=1).counts) is (change is not made_by_0_2)


Record = dict[str, Any]
FORMS: dict[str, Callable[[Record], Record]] = {
    "no zeros": lambda record: {k: v for k, v in record.items() if v != "0"},
    "no false": lambda record: {k: v for k, v in record.items() if v is not False},
    "no empty texts": lambda record: {k: v for k, v in record.items() if v != ""},
    "no updated_at": lambda record: {k: v for k, v in record.items() if k != "updated_at"},
    "numbers for flags": lambda record: {k: int(v) if isinstance(v, bool) else v for k, v in record.items()},
    "numbers": lambda record: {k: int(v) if k == "score" else v for k, v in record.items()},
    "nulls": lambda record: {**record, "approver_id": None},
    "a note in pools": lambda record: {**record, "pools": [*record.get("pools", []), {"note": "Jane Roe"}]},
    "a category in pools": lambda record: {**record, "pools": [*record.get("pools", []), "Jane Roe"]},
    "a name in favs": lambda record: {**record, "favs": [*record.get("favs", []), "Jane Roe"]},
    "spaces": lambda record: record,
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dialect", ["2022/posts", "2022-old/2022"])
def test_lines_have_the_keys_and_forms_that_readers_take_for_granted(later: Path, dialect: str, name: str) -> None:
    """A line that lacks a key whose value stands for none, or has it in another form, is not what a release writes."""
    path = later / f"metadata/{dialect}000000000000.json"
    lines = [json.dumps(FORMS[name](json.loads(line)), ensure_ascii=False) for line in path.read_text().splitlines()]
    text = "".join(f"{line}\n" for line in lines)
    put(path, (text if name == "spaces" else text.replace('": ', '":').replace(', "', ',"')).encode())
    pack_again(later)
    resum(later)
    assert "metadata_differs" in verify_release(later, threads=1).counts


@pytest.mark.parametrize(
    "column", ["file_name", "rating", "score", "is_deleted", "tags", "tags_artist", "width", "height", "sha256"]
)
def test_rows_of_images_say_what_posts_and_manifest_say(later: Path, column: str) -> None:
    """Every column of 512px/metadata.parquet is compared."""
    rewritten(later, "512px/metadata.parquet", column)
    resum(later)
    assert verify_release(later, threads=1).counts.keys() == {"signature", "image_rows_differ"}


def test_rows_of_images_are_in_order(later: Path) -> None:
    """Rows of 512px/metadata.parquet that are all there, but the last one first, are found."""
    edit_table(later, "512px/metadata.parquet", lambda table: table.take(list(reversed(range(table.num_rows)))))
    resum(later)
    assert verify_release(later, threads=1).counts.keys() == {"signature", "image_rows_differ"}


TABLES = (
    *("manifest/files-*", "*/2021/files-*", "parquet/posts-*", "parquet/tag_counts-*", "512px/metadata.parquet"),
    *("changes/2022-from-2021.parquet", "parquet/duplicates-*", "parquet/post_vectors-*", "parquet/tag_vectors-*"),
)


@pytest.mark.parametrize("pattern", TABLES)
@pytest.mark.parametrize("what", ["one more", "one as text", "one less"])
def test_tables_have_the_columns_of_a_release(later: Path, pattern: str, what: str) -> None:
    """A column that no version writes, one of another type and one that is missing are found in every table."""
    if not list(later.glob(pattern)):
        pytest.skip("the release is too small to have it")

    def change(table: pa.Table) -> pa.Table:
        first = table.column_names[0] if pattern != "512px/metadata.parquet" else "id"
        if what == "one less":
            return table.drop([table.column_names[-1]])
        if what == "one more":
            return table.append_column("truth", pa.array(["lie"] * table.num_rows))
        kind = pa.int64() if pa.types.is_string(table.schema.field(first).type) else pa.string()
        values = pa.nulls(table.num_rows, kind) if kind == pa.int64() else table[first].cast(kind)
        return table.set_column(table.schema.get_field_index(first), first, values)

    edit_table(later, pattern, change)
    resum(later)
    report = verify_release(later, full=True, threads=1)
    assert {"parquet_unreadable", "manifest_unreadable"} & report.counts.keys(), report.lines()


@pytest.mark.parametrize("column", ["id", "name", "post_count", "is_used"])
def test_side_tables_say_what_their_lines_say(later: Path, column: str) -> None:
    """Every column of a side table is compared."""
    rewritten(later, "parquet/tags-*", column)
    resum(later)
    assert verify_release(later, threads=1).counts["tables_differ"]


SIDE_FORMS: dict[str, Callable[[Record], Record]] = {
    "numbers for flags": lambda record: {k: int(v) if isinstance(v, bool) else v for k, v in record.items()},
    "a number": lambda record: {**record, "id": int(record["id"])},
    "a fraction": lambda record: {**record, "id": float(record["id"])},
    "a null": lambda record: {**record, "updated_at": None},
    "no false": lambda record: {k: v for k, v in record.items() if v is not False},
}


@pytest.mark.parametrize("name", SIDE_FORMS)
def test_lines_of_side_tables_have_the_forms_of_2021(later: Path, name: str) -> None:
    """Integers are texts, nulls are left out, and 0 is not false, whatever a source had: so every table is written."""
    path = later / f"metadata/2022/tags{0:012}.json"
    lines = [json.dumps(SIDE_FORMS[name](json.loads(line))) for line in path.read_text().splitlines()]
    put(path, "".join(f"{line}\n" for line in lines).encode())
    pack_again(later)
    resum(later, lambda release: release["inputs"]["side_tables"].update(tags=digest(path)))
    assert "tables_differ" in verify_release(later, threads=1).counts


def test_numbers_of_side_tables_are_no_texts(later: Path) -> None:
    """A column of numbers that was stored as text, with the same values, is found."""

    def as_text(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("post_count")
        return table.set_column(place, "post_count", table["post_count"].cast(pa.string()))

    edit_table(later, "parquet/tags-*", as_text)
    resum(later)
    assert "tables_differ" in verify_release(later, threads=1).counts


@pytest.mark.parametrize("column", ["posts", "posts_s", "posts_of_year", "first_id", "new", "name"])
def test_tag_counts_are_counted_again(later: Path, column: str) -> None:
    """Every column of the tag counts is counted from the posts."""
    rewritten(later, "parquet/tag_counts-*", column)
    resum(later)
    assert verify_release(later, threads=1).counts.keys() == {"signature", "tag_counts_differ"}


@pytest.mark.parametrize("column", ["kind", "path", "old_path", "new_sha256", "new_rating"])
def test_lists_of_changes_follow_from_both_manifests(later: Path, column: str) -> None:
    """Every column of a list of changes is compared with the carried manifest and the new one."""
    rewritten(later, "changes/2022-from-2021.parquet", column)
    resum(later)
    assert "changes_differ" in verify_release(later, threads=1).counts


@pytest.mark.parametrize("label", ["2022-from-2021", "2022.1-from-2022.0"])
@pytest.mark.parametrize("kind", ["files.txt", "remove.txt", "parquet"])
@pytest.mark.parametrize("what", ["drops", "adds"])
def test_lists_of_files_are_complete_and_true(later: Path, label: str, kind: str, what: str) -> None:
    """A mirror is told to fetch what is new, and to remove nothing that is here."""
    path = later / f"changes/{label}.{kind}"
    if kind == "parquet":
        twice = lambda table: pa.concat_tables([table.slice(0, 1), table])  # noqa: E731
        edit_table(later, f"changes/{label}.parquet", twice if what == "adds" else lambda table: table.slice(1))
    else:
        lines = [line for line in path.read_text().splitlines() if line.startswith(("original/", "512px/0"))]
        rest = [line for line in path.read_text().splitlines() if what == "adds" or line not in lines[:1]]
        wrong = {"files.txt": "metadata/none.json", "remove.txt": "removed.txt"}[kind]
        added = [wrong] if what == "adds" else []
        put(path, "".join(f"{line}\n" for line in sorted([*rest, *added])).encode())
    resum(later)
    expected = label == "2022-from-2021" or what == "adds"  # of the version before, no manifest is carried
    assert ("changes_differ" in verify_release(later, threads=1).counts) or not expected


def test_report_of_changes_has_the_numbers_of_the_rows(later: Path) -> None:
    """What the report for people says of rows by kind and of the release is counted again."""
    report = later / "changes/2022-from-2021.md"
    put(report, re.sub(rb"\| [0-9,]+ (?=\|)", b"| 77,777 ", report.read_bytes()))
    resum(later)
    found = [f.message for f in verify_release(later, threads=1).findings if f.where == "changes/2022-from-2021.md"]
    assert len(found) == 7 + 6, found


@pytest.mark.parametrize("label", ["2022-from-2021", "2022.1-from-2022.0"])
def test_every_list_of_changes_removes_what_was_taken_down(later: Path, label: str) -> None:
    """A list that a mirror follows names the files of a removed post, as the other list does, whatever its rows say."""
    path, text = later / f"changes/{label}.remove.txt", later / f"changes/{label}.md"
    lines = path.read_bytes().splitlines(keepends=True)
    put(path, b"".join(line for line in lines if b"/2003." not in line))
    assert path.read_bytes() != b"".join(lines)
    if label == "2022.1-from-2022.0":
        edit_table(later, f"changes/{label}.parquet", lambda table: table.slice(0, 0))
        put(text, re.sub(rb"(?m)(^\| `.*\| )[0-9]+ ", rb"\g<1>0 ", text.read_bytes()))
    resum(later)
    assert [f.where for f in verify_release(later, threads=1).findings if "as other lists do" in f.message]


def test_carried_manifest_is_what_its_year_recorded(later: Path) -> None:
    """A carried manifest that keeps its numbers, but not its sums, is not that of its year."""
    (where,) = later.glob("*/2021/SHA256SUMS")
    edit_table(later, "*/2021/files-*", with_column("sha256", lambda sums: [sum_ and "0" * 64 for sum_ in sums]))
    resum(later)
    assert "carried_differ" in verify_release(later, threads=1).counts
    put(where, b"")
    resum(later)
    assert "carried_differ" in verify_release(later, threads=1).counts


@pytest.mark.parametrize("where", ["lines", "about", "carried"])
def test_nothing_is_left_of_a_post_that_was_taken_down(later: Path, where: str) -> None:
    """A line, or a row, of a post that removed.txt names is found in whatever year's metadata it is."""
    line = b'{"id":"2003","created_at":"2020-05-04 03:02:01.12 UTC"}\n'
    if where == "lines":
        put(later / "metadata/2019/posts000000000000.json", line)
    elif where == "about":
        put(later / "metadata/2021/notes000000000000.json", b'{"id":"9","post_id":"2003"}\n')
    else:
        edit_table(
            later, "*/2021/files-*", with_column("id", lambda ids: [2003 if id_ == 3004 else id_ for id_ in ids])
        )
    pack_again(later)
    resum(later)
    assert "removed_differ" in verify_release(later, threads=1).counts


def edited(path: Path) -> None:
    """A file of lines is without the first."""
    put(path, b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


CARRIED: dict[str, Callable[[Path], object]] = {
    "metadata edited": lambda f: edited(f / "metadata/2021/posts000000000000.json"),
    "side table edited": lambda f: edited(f / "metadata/2021/tags000000000000.json"),
    "metadata gone": lambda f: shutil.rmtree(f / "metadata/2021"),
    "sums gone": lambda f: (f / "earlier/2021/SHA256SUMS").unlink(),
    "all gone": lambda f: shutil.rmtree(f / "earlier"),
}


@pytest.mark.parametrize("what", CARRIED)
def test_what_is_carried_is_all_there_as_its_year_recorded_it(later: Path, what: str) -> None:
    """Metadata of an earlier year has the sums of that year, whose manifest and list of sums must be there."""
    CARRIED[what](later)
    pack_again(later)
    resum(later)
    assert "carried_differ" in verify_release(later, threads=1).counts


def test_carried_metadata_may_differ_where_a_post_was_taken_down_since(later: Path) -> None:
    """The lines of that post are gone from it, and its year may have been published before."""
    edited(later / "metadata/2021/posts000000000000.json")
    put(later / "removed.txt", (later / "removed.txt").read_bytes() + b"9999\n")
    pack_again(later)
    resum(later)
    assert "carried_differ" not in verify_release(later, threads=1).counts


LINES_OF_2003 = (
    b'{"id": "2003", "md5": "x"}',
    b'{"md5":"x","id":2003}',
    b'  {"id":"2003"}',
    b'{"id":2003.0}',
    b'{"id":"2003.0"}',
    b'{"\\u0069d":"2003"}',
    b'{"id":"200\\u0033"}',
    b'{"id":"2003","id":"999"}',
    b'{"id":"999","id":"2003"}',
    b'{"id":"999"}{"id":"2003"}',
    b'\xef\xbb\xbf{"id":"2003"}',
    b'{"id":"2003","source":"\xff\x07"}',
    b'{"id":"2003"',
    '{"id":"2003"}'.encode("utf-16-le"),
)


def test_every_form_of_a_line_of_a_removed_post_is_found(later: Path) -> None:
    """What any reader of JSON would take for a line of, or about, a removed post is one, among other lines."""
    forms = {f"metadata/2019/posts{number:012d}.json": line for number, line in enumerate(LINES_OF_2003)}
    forms["metadata/2019/posts000000000000.jsonl"] = LINES_OF_2003[0]
    forms["metadata/2019/notes000000000000.json"] = b'{"id": "9", "post_id": "2003"}'
    forms["metadata/2019/comments000000000000.json"] = b'{"post\\u005Fid":2003 }'
    for name, line in forms.items():
        put(later / name, b'{"id":"7","post_id":"8"}\n' + line + b'\n{"id":"9","post_id":"8"}\n')
    pack_again(later)
    resum(later)
    found = {f.where for f in verify_release(later, threads=1).findings if f.kind == Kind.REMOVED_DIFFER}
    assert found == forms.keys()


def test_metadata_that_is_no_json_lines_is_told(later: Path) -> None:
    """Nobody could see a removed post in it; the number of one may stand in lines of other posts."""
    wrong = {
        "posts000000000000.json.gz": b"x",
        "posts000000000001.json": b'[{"id":"7"},\n{"id":"8"}]\n',
        "posts000000000002.json": b'{"id":"7"}\nid: 2003\n',
    }
    right = b'{"id":"20030"}\r\n\n{"id":"7","tags":[{"id":"2003"}]}\n {"id":null,"post_id":"2003"}\n{"x":"id"}'
    for name, data in {**wrong, "posts000000000003.json": right}.items():
        put(later / "metadata/2019" / name, data)
    pack_again(later)
    resum(later)
    report = verify_release(later, threads=1)
    found = {f.where for f in report.findings if f.kind == Kind.METADATA_UNREADABLE}
    assert found == {f"metadata/2019/{name}" for name in wrong}
    assert "removed_differ" not in report.counts


def test_modes_and_empty_folders_are_seen(later: Path) -> None:
    """What anybody may write to, a set-user-id bit and an empty folder are findings, what copying does is none."""
    image = next(later.glob("original/*/*"))
    put(image, image.read_bytes())
    image.chmod(0o4444)
    put(later / "README.md", (later / "README.md").read_bytes())
    (later / "README.md").chmod(0o755)
    (later / "parquet").chmod(0o777)
    (later / "new/folder").mkdir(parents=True)
    (later / "512px/0999").mkdir()
    found = {(f.kind.value, f.where) for f in verify_release(later, threads=1).findings}
    assert found == {
        ("mode", str(image.relative_to(later))),
        ("mode", "parquet"),
        ("empty_folder", "new/folder"),
        ("empty_folder", "512px/0999"),
    }


def packed_with(folder: Path, extra: bytes, *, mode: int = 0o644) -> None:
    """Make the archive of the metadata anew, with something behind its end."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path in sorted(path for path in (folder / "metadata").rglob("*") if path.is_file()):
            info = archive.gettarinfo(path, path.relative_to(folder).as_posix())
            info.mode = mode
            archive.addfile(info, io.BytesIO(path.read_bytes()))
    put(folder / "metadata.json.tar.xz", lzma.compress(made.getvalue()) + extra)


def second_archive() -> bytes:
    """Another archive, compressed."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("metadata/evil.json"))
    return lzma.compress(made.getvalue())


@pytest.mark.parametrize(
    ("extra", "mode", "found"),
    [
        pytest.param(b"", 0o644, False, id="as it should be"),
        pytest.param(lzma.compress(bytes(10240)), 0o644, False, id="more zeros"),
        pytest.param(second_archive(), 0o644, True, id="a second archive"),
        pytest.param(b"", 0o6777, True, id="a mode that nobody wants"),
    ],
)
def test_archive_has_nothing_behind_its_end(later: Path, extra: bytes, mode: int, found: bool) -> None:  # noqa: FBT001
    """What readers that go on behind the end of an archive would unpack, or with which rights, is found."""
    packed_with(later, extra, mode=mode)
    resum(later)
    assert ("archive_differs" in verify_release(later, threads=1).counts) == found


def test_folders_beyond_the_longest_path_are_a_finding(later: Path) -> None:
    """Folders so deep that the system has no path for them are named, and the rest is verified."""
    with contextlib.chdir(later / "metadata"):
        for _ in range(45):
            Path("d" * 100).mkdir()
            os.chdir("d" * 100)
    try:
        assert verify_release(later, threads=1).counts["not_a_file"] == 1
    finally:
        subprocess.run(["rm", "-r", later / "metadata" / ("d" * 100)], check=True)


KEYS = (
    *("name", "year", "version", "cutoff", "last_id", "sfw_ratings", "counts", "bytes", "reasons", "sources"),
    *("image_settings", "inputs", "previous", "replaces", "options", "history", "tag_statistics", "taken_down"),
    *("created_at", "tool"),
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.needs("ssh-keygen")
def test_signature_reaches_everything_that_release_json_says(later: Path, signers: Path, key: str) -> None:
    """Case release-json-not-signed: whatever is rewritten in RELEASE.json, a signed release is not good any more."""

    def change(release: dict[str, Any]) -> None:
        old = release[key]
        release[key] = {dict: {**old, "more": 1} if isinstance(old, dict) else 0, list: [], int: 7}.get(type(old), "x")

    edit_json(later / "RELEASE.json", change)
    report = verify_release(later, signers=signers, threads=1)
    assert any(key in f.message or key in f.where for f in report.findings), report.lines()
    # Its content rewritten, too, and all sums: then the signature is bad.
    edit_json(later / CONTENT, change)
    resum(later)
    assert "signature" in verify_release(later, signers=signers, threads=1).counts


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"{\n", b'{\n  "version": "2023.7",\n', id="a key twice"),
        pytest.param(b"{\n", b'{\n  "revoked": null,\n', id="null"),
        pytest.param(b'"webdataset": false', b'"webdataset": 0', id="0 for false"),
        pytest.param(b"{\n", b'{\n  "sha256sums_sha256": "", "revoked": "yes",\n', id="a key behind the mark"),
        pytest.param(b'"options": {\n', b'"options": {\n  "sha256sums_sha256": "x",\n', id="the mark twice"),
    ],
)
def test_release_json_is_its_content_byte_for_byte(later: Path, old: bytes, new: bytes) -> None:
    """What one JSON reader takes for another value than the next cannot be put into a signed RELEASE.json."""
    text = (later / "RELEASE.json").read_bytes()
    put(later / "RELEASE.json", text.replace(old, new, 1))
    assert text.count(old)
    assert "RELEASE.json" in {f.where for f in verify_release(later, threads=1).findings}


@pytest.mark.parametrize("name", MARK_PLACES)
def test_line_that_names_the_sums_has_one_place(later: Path, name: str) -> None:
    """Where it stands on top, later, or as a key of another object, RELEASE.json is not what any version writes."""
    move_mark(later, MARK_PLACES[name])
    assert "RELEASE.json" in {f.where for f in verify_release(later, threads=1).findings}


@pytest.mark.parametrize("where", ["posts", "tags"])
def test_key_that_a_line_says_twice_is_found(later: Path, where: str) -> None:
    """A line whose first value of a key lies, and whose last one is right, is not taken for right."""
    path = later / f"metadata/{year_of(later)}/{where}000000000000.json"
    text = path.read_bytes()
    put(path, b'{"id":"1",' + text[1:])
    pack_again(later)
    resum(later, lambda r: r["inputs"]["side_tables"].update(tags=digest(later / f"metadata/2022/tags{0:012}.json")))
    report = verify_release(later, threads=1)
    assert any("twice" in f.message for f in report.findings), report.lines()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(taken_down=2), "taken_down is 2"),
        (lambda r: r["counts"].update(rejected=9), "counts.rejected is 9"),
        (lambda r: r["tag_statistics"].update(new_tags=5000), "tag_statistics.new_tags"),
        (lambda r: r["tag_statistics"]["tags_per_post"].update(median=9.5), "tag_statistics.tags_per_post"),
        (lambda r: r["inputs"]["side_tables"].update(tags="0" * 64), "inputs.side_tables.tags"),
        (lambda r: r["previous"].update(version="2021.9"), "previous"),
        (lambda r: r["previous"].update(sha256sums_sha256="0" * 64), "2021"),
        (lambda r: r["replaces"].update(version="2021.0"), "replaces"),
        (lambda r: r["history"][1].update(posts=5000), "history"),
        (lambda r: r["history"][-1].update(name="danbooru2019"), "history"),
        (lambda r: r["history"].append({**r["history"][0], "posts": 5000}), "history has a release twice"),
        (lambda r: (r["counts"].update(rejected=-7), r["sources"][0].update(rejected=-7)), "counts.rejected is -7"),
        (lambda r: r.update(created_at="2023-01-01"), "created_at"),
        (lambda r: r.update(version="2022"), "version"),
        (lambda r: r["tool"].update(version=""), "tool"),
    ],
)
def test_numbers_are_counted_again(later: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    """What RELEASE.json says is recomputed where it can be, even if its content and all sums were rewritten."""
    resum(later, change)
    findings = [f for f in verify_release(later, threads=1).findings if f.kind != Kind.SIGNATURE]
    assert any(said in f"{f.where} {f.message}" for f in findings), findings


@pytest.mark.needs("ssh-keygen")
def test_release_that_was_signed_as_before_is_good_with_a_word(earlier: Path, signers: Path) -> None:
    """A release without RELEASE.content.json verifies as ever, and the report says what its signature leaves out."""
    (earlier / CONTENT).unlink()
    resum(earlier, made_by_0_2)
    path = earlier / "changes/2021.1-from-2021.0.files.txt"
    put(path, path.read_bytes().replace(f"{CONTENT}\n".encode(), b""))
    resum(earlier)
    (earlier / "SHA256SUMS.sig").unlink()
    key = signers.with_name("key")
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "danbooru-release", str(earlier / "SHA256SUMS")]
    subprocess.run(command, check=True)
    report = verify_release(earlier, full=True, signers=signers, threads=1)
    assert report.ok, report.lines()
    assert report.signature == "good"
    assert "RELEASE.json, which it does not cover" in "\n".join(report.lines())
    assert report.as_dict()["covers_release_json"] is False


def test_lines_of_0_2_lack_keys_that_are_empty_now(copy: Path) -> None:
    """Its hidden posts have no `md5`, which later ones have as an empty text: no finding; another value is one."""
    assert b'"md5":"",' in lines_of(copy).read_bytes()
    edit_lines(copy, lambda lines: [line.replace(b'"md5":"",', b"") for line in lines])
    pack_again(copy)
    (copy / CROISSANT).unlink()  # which has the sum of another archive
    resum(copy, made_by_0_2)
    assert verify_release(copy, full=True).lines()[-1].endswith("all is well")
    edit_lines(copy, lambda lines: [line.replace(b'"rating":"s",', b"") for line in lines])
    pack_again(copy)
    resum(copy)
    assert not verify_release(copy, full=True).ok


FEED = b'{"id":2003,"gone_from":"2021.1"}\n'


@pytest.mark.parametrize("version", ["2021.0", "2022.0", "2022.7", "2099.0", "0001.5", "2022.000", "2004.0"])
def test_a_post_is_gone_from_a_version_that_can_be(later: Path, version: str) -> None:
    """The version is in the history, or this one; none is above it, and none had more posts than it lacked."""
    assert (later / "removals.jsonl").read_bytes() == FEED
    put(later / "removals.jsonl", FEED.replace(b"2021.1", version.encode()))
    resum(later)
    assert Kind.REMOVED_DIFFER in {f.kind for f in verify_release(later, threads=1).findings}


@pytest.mark.parametrize("version", ["2021.1", "2021.2", "2022.1", "2020.4"])
def test_a_post_may_be_gone_from_this_version_or_one_of_an_earlier_year(later: Path, version: str) -> None:
    """An earlier year may have got a version after the history of this release was written."""
    put(later / "removals.jsonl", FEED.replace(b"2021.1", version.encode()))
    resum(later)
    assert Kind.REMOVED_DIFFER not in {f.kind for f in verify_release(later, threads=1).findings}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("removals.jsonl", b'{"id":2003,"gone_from":"2021.1","why":"asked for by Jane Roe"}\n'),
        ("removals.jsonl", b'{"id":5,"id":2003,"gone_from":"2021.1"}\n'),
        ("removals.jsonl", b'{"gone_from":"2021.1","id":2003}\n'),
        ("removals.jsonl", FEED.rstrip()),
        ("removals.jsonl", FEED.replace(b"\n", b"\r\n")),
        ("removals.jsonl", FEED + b"\n"),
        ("removed.txt", b"2003"),
        ("removed.txt", b"2003\r\n"),
        ("removed.txt", b"2003\r"),
        ("removed.txt", b"2003\n\n"),
    ],
)
def test_lists_of_removed_posts_are_written_in_one_way(later: Path, name: str, data: bytes) -> None:
    """What else a line says, a key that it says twice and another line end are found: readers differ about them."""
    put(later / name, data)
    resum(later)
    found = verify_release(later, threads=1).findings
    assert [f.where for f in found if f.kind == Kind.REMOVED_DIFFER] == [name]


def test_a_list_of_a_million_removals_is_not_read(later: Path) -> None:
    """A list of more ids than any site removes, which would fill memory, is a finding that says how long it may be."""
    put(later / "removed.txt", b"".join(b"%d\n" % id_ for id_ in range(10**7, 10**7 + 10**6)))
    resum(later)
    said = [f.message for f in verify_release(later).findings if f.where == "removed.txt"]
    assert said == ["cannot be read: has more than 8,388,608 bytes"]
