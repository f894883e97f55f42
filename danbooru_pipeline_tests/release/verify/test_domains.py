"""What the manifest says of files is something that a version writes, and fits its own row."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.images import Flag, ImageJob, ImageResult, Kept, Quality, run_image_job
from danbooru_pipeline.images.settings import ImageSettings
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Post
from danbooru_pipeline.release import Finding, Kind, read_release, reconcile_bucket, verify_release
from danbooru_pipeline.release.manifest.row import manifest_table
from danbooru_pipeline.release.verify.domains import DOMAINS, DomainChecks
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.store.columns import ORIGINAL_FACTS, PX512_FACTS, Origin, values_from
from danbooru_pipeline.store.ledger import LEDGER_COLUMNS, LedgerRow, with_px512
from danbooru_pipeline_tests.support import pictures
from danbooru_pipeline_tests.support.cases import cmyk_420
from danbooru_pipeline_tests.support.damage import edit_table, resum, with_column, with_row
from danbooru_pipeline_tests.support.pictures import illustration, jpeg, png

WRONG: Final[dict[str, list[Any]]] = {
    "source_size": [-5],
    "fetched_md5": ["evil", "A" * 32, "0" * 33, "0" * 32 + "\n"],
    "source_pixel_hash": ["evil"],
    "pixel_hash": ["evil", "0" * 64],
    "file_type": ["mp4", "evil", None],
    "width": [0, None],
    "height": [-1],
    "pages": [-1, 0, 77],
    "flags": [["evil"], ["truncated"], ["trailing_data", "trailing_data"], [None], None],
    "alpha": [True],
    "color_space": ["evil", "srgb"],
    "orientation": [0, 9, 99, -1, 1],
    "optimized_by": ["evil", "oxipng -o7"],
    "kept": ["evil"],
    "px512_background": ["evil", None],
    "px512_flags": [["evil"], ["few_colors", "few_colors"], None],
    "px512_dhash": [None],
    "px512_phash": [None],
}


def found_with(folder: Path, is_meant: Callable[[dict[str, Any]], bool], **values: Any) -> list[Finding]:
    """What is found when the first row of a manifest that is meant has other values."""
    run = Verification(folder=folder, release=read_release(folder))
    DomainChecks(run).add(with_row(is_meant, **values)(pq.read_table(min(folder.glob("manifest/files-*")))))
    return run.found.kept


@pytest.mark.parametrize(("column", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_that_no_version_writes_is_named_by_its_post(later: Path, column: str, value: Any) -> None:
    """Of a file with a 512px image, every value has to be one of those that stand there, and to fit the others."""
    assert found_with(later, lambda _: True, bucket="none") == []
    found = found_with(later, lambda row: row["px512_path"] is not None, **{column: value})
    assert found
    assert all(f.kind == Kind.MANIFEST_ROW and f.where.isdigit() for f in found)


SAID: Final = {"file_type": "png", "width": 5, "flags": ["apng"], "optimized": True, "px512_flags": ["hdr"]}


@pytest.mark.parametrize("column", [*SAID, "px512_background", "px512_dhash"])
def test_nothing_is_said_of_a_file_that_is_not_there(later: Path, column: str) -> None:
    """A row without a file has no facts of one."""
    value = SAID.get(column, "white" if column == "px512_background" else b"1" * 32)
    found = found_with(later, lambda row: row["path"] is None, **{column: value})
    what = "512px image" if column in PX512_FACTS else "file"
    assert [f.message for f in found] == [f"has {column}, but no {what}"]


def test_a_manifest_of_before_the_hashes_has_none(later: Path) -> None:
    """Where no row has perceptual hashes, none is missed; where RELEASE.json says that all have, every row is named."""
    for name in ("px512_dhash", "px512_phash"):
        edit_table(later, "manifest/files-*", with_column(name, lambda values: [None] * len(values)))
    resum(later)
    assert Kind.MANIFEST_ROW not in verify_release(later, threads=1).counts
    resum(later, lambda release: release["image_settings"].update(px512_rules=6))
    report = verify_release(later, threads=1)
    assert report.counts[Kind.MANIFEST_ROW] == len(list(later.glob("512px/*/*.jpg")))


def test_duplicates_are_not_compared_by_what_is_no_pixel_hash(later: Path) -> None:
    """A pixel hash that is none is a finding of its row, and the report says that duplicates were not compared."""
    forged = dict.fromkeys(("pixel_hash", "source_pixel_hash"), "0" * 64) | {"pixel_hash_matches": True}
    edit_table(later, "manifest/files-*", with_row(lambda row: row["path"] is not None, **forged))
    resum(later)
    report = verify_release(later, full=True, threads=1)
    assert report.counts[Kind.MANIFEST_ROW] == 2
    assert Kind.PARQUET_UNREADABLE not in report.counts
    assert [text for text in report.unchecked if "duplicates" in text] == [
        "parquet/duplicates-*.parquet was not compared: the manifest has a pixel hash that is none"
    ]


FILES: Final[dict[str, bytes]] = {
    "jpg": jpeg(illustration()),
    "jpeg": jpeg(illustration()),
    "named.png": jpeg(illustration()),
    "inks.jpg": cmyk_420(),
    "cut.jpg": jpeg(illustration())[:-900],
    "rot.jpg": pictures.rot(jpeg(illustration()), 0.5, length=200),
    "more.png": png(illustration()) + b"PK\3\4",
    "png": png(illustration(bands=4)),
    "deep.png": png((illustration() * 256).cast("ushort").copy(interpretation="rgb16")),
    "palette.png": pictures.palette_png(transparent=True),
    "bomb.png": pictures.bomb_png(),
    "one.png": pictures.apng(1),
    "apng.png": pictures.apng(3),
    "gif": pictures.animated(".gif"),
    "still.gif": pictures.animated(".gif", 1),
    "webp": pictures.animated(".webp"),
    "avif": illustration().heifsave_buffer(compression="av1"),
    "bmp": pictures.bmp(),
    "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "mp4": b"\0\0\0\x18ftypisom\0\0\0\0isomiso2",
    "webm": b"\x1aE\xdf\xa3 video",
    "zip": b"PK\3\4 frames",
    "swf": b"CWS flash",
    "page.png": b"<!doctype html>",
    "unknown.jpg": b"nothing that anybody knows",
}


def row_of(data: bytes, ext: str, result: ImageResult) -> LedgerRow:
    """The row that a build writes for a file."""
    md5 = hashlib.md5(data).hexdigest()
    facts = {} if result.facts is None else values_from(result.facts, Origin.FILE, LEDGER_COLUMNS)
    row = LedgerRow(
        id=1001,
        md5=md5,
        ext=ext,
        source_size=len(data),
        fetched_md5=md5,
        first_release=2021,
        **values_from(result, Origin.RESULT, LEDGER_COLUMNS),
        **facts,
        optimized=result.size != len(data),
    )
    return with_px512(row, result, settings="q90")


def found_in(row: LedgerRow, folder: Path) -> list[str]:
    """What verification finds in the row of a manifest that follows from a row of a ledger."""
    post = Post(
        id=1001, md5=row.md5, ext=row.ext, file_size=None, rating="s", file_url="https://x/1", is_banned=False, tags="x"
    )
    files = {f"1001.{row.held_ext}": row.size or 0}
    rows, problems = reconcile_bucket(
        [post], {1001: row}, files, {"1001.jpg": row.px512_size or 0}, year=2021, px512_settings="q90"
    )
    assert not problems
    run = Verification(folder=folder, release=None)
    DomainChecks(run).add(manifest_table(rows))
    return [str(finding) for finding in run.found.kept]


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_what_a_build_says_of_any_file_is_right(tmp_path: Path, name: str, archived: bool) -> None:  # noqa: FBT001
    """Pictures of all kinds, whole and broken, videos, archives and nonsense: no row of an honest release is named."""
    ext = name.rpartition(".")[2]
    source = tmp_path / f"1001.{ext}"
    source.write_bytes(FILES[name])
    archive = source.with_suffix(".jxl") if archived and ext == "jpg" else None
    job = ImageJob(source=source, original=source, archive=archive, px512=tmp_path / "512.jpg")
    first: list[ImageResult] = []
    result = run_image_job(dataclasses.replace(job, settings=ImageSettings(max_pixels=10**7)), first.append)
    assert found_in(row_of(FILES[name], ext, result), tmp_path) == []
    died = dataclasses.replace(first[0], px512_reason=Reason.WORKER_CRASHED)
    assert found_in(row_of(FILES[name], ext, died), tmp_path) == []
    nothing = dataclasses.replace(died, facts=None, px512_reason=Reason.WORKER_TIMEOUT)
    assert found_in(row_of(FILES[name], ext, nothing), tmp_path) == []


def test_what_an_earlier_version_saw_is_mended_with_the_image(tmp_path: Path) -> None:
    """An AVIF whose items an earlier version took for frames gets the facts of now with its first 512px image."""
    source = tmp_path / "1001.avif"
    source.write_bytes(FILES["avif"])
    result = run_image_job(ImageJob(source=source, px512=tmp_path / "512.jpg"))
    known = dataclasses.replace(row_of(FILES["avif"], "avif", result), pages=5, width=None, flags=("trailing_data",))
    mended = with_px512(known, result, settings="q90")
    assert (mended.pages, mended.width, mended.flags) == (1, 300, ("trailing_data",))
    assert found_in(mended, tmp_path) == []


def test_domains_are_those_of_the_image_workers() -> None:
    """Words are declared once, by those who write them, and columns with a closed set have no other."""
    words = {name: domain.words for name, domain in DOMAINS.items() if domain.words is not None}
    for column, enum in (("flags", Flag), ("kept", Kept), ("px512_flags", Quality)):
        assert words[column] == frozenset(str(word) for word in enum)
    assert words.keys() >= {"file_type", "color_space", "optimized_by", "px512_background"}
    assert DOMAINS.keys() <= {*ORIGINAL_FACTS, *PX512_FACTS, "source_pixel_hash"}


def test_many_rows_are_checked_by_columns(tmp_path: Path) -> None:
    """Of a hundred thousand rows with one that is wrong, that one is named."""
    result = ImageResult(facts=None, sha256="0" * 64, size=1, px512_reason=Reason.NOT_AN_IMAGE)
    row = row_of(b"1", "zip", result)
    rows, _ = reconcile_bucket(
        [Post(1001, row.md5, "zip", None, "s", "https://x/1", is_banned=False, tags="x")],
        {1001: row},
        {"1001.zip": 1},
        {},
        year=2021,
        px512_settings="q90",
    )
    table = pa.concat_tables([manifest_table(rows)] * 100_000)
    table = table.set_column(0, table.schema.field(0), pa.array(range(100_000)))
    kept = pa.array([None] * 99_999 + ["evil"], pa.string())
    run = Verification(folder=tmp_path, release=None)
    DomainChecks(run).add(table.set_column(table.schema.get_field_index("kept"), table.schema.field("kept"), kept))
    assert [finding.where for finding in run.found.kept] == ["99999"]
