"""The manifest: written whole and sorted when all reconciles, refused by name when not."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import ReleaseError, ReleaseRefused
from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_remainder
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.release import MANIFEST_SCHEMA, read_summary, write_manifest
from danbooru_pipeline_tests.support.yard import SETTINGS, Yard


def test_manifest_has_one_row_per_post_sorted_by_id(yard: Yard) -> None:
    """Every post is there once, whatever became of it."""
    summary = yard.manifest()
    table = pq.read_table(yard.layout.manifest(2021))
    assert table["id"].to_pylist() == sorted(yard.rows)
    assert table.schema.equals(MANIFEST_SCHEMA)
    assert (summary.posts, summary.originals, summary.px512, summary.pending, summary.last_id) == (17, 13, 4, 1, 20005)
    assert summary.reasons["original"] == {"banned": 1, "gone": 1, "restricted": 1, "retry_exhausted": 1}
    assert summary.reasons["px512"] == {"animated": 1, "no_original": 3, "rating": 9}
    assert summary.saved_bytes == 13 * 10


def test_rebuild_has_the_same_digest_and_the_same_bytes(yard: Yard) -> None:
    """Nothing of the time or the order of making is in the manifest; a change of content is."""
    first = yard.manifest()
    data = yard.layout.manifest(2021).read_bytes()
    assert yard.manifest() == first == read_summary(yard.layout, 2021)
    assert yard.layout.manifest(2021).read_bytes() == data
    yard.post(4001, score=3, rating="q", md5="0" * 32)
    yard.change(4001, md5="0" * 32)
    assert yard.manifest().digest != first.digest


def test_refusal_names_rows_and_leaves_the_old_manifest(yard: Yard) -> None:
    """Every row that does not reconcile is in the report; the report is removed once everything reconciles."""
    yard.manifest()
    before = yard.layout.manifest(2021).read_bytes()
    files = [yard.layout.original(id_, "jpg") for id_ in (10003, 1002)]
    content = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    with pytest.raises(ReleaseRefused, match=r"^2 rows of 2021 .*1002: .*10003: .*unreconciled") as refused:
        yard.manifest()
    report = yard.layout.unreconciled(2021)
    assert [line.split(":")[0] for line in refused.value.rows] == ["1002", "10003"]
    assert report.read_text().splitlines() == list(refused.value.rows)
    assert yard.layout.manifest(2021).read_bytes() == before
    for path, data in zip(files, content, strict=True):
        path.write_bytes(data)
    yard.manifest()
    assert not report.exists()


@pytest.mark.parametrize(("change", "message"), [({"rating": "e"}, "another MD5 or rating"), (None, "in no bucket")])
def test_stale_slice_of_a_bucket_is_found(yard: Yard, change: dict[str, str] | None, message: str) -> None:
    """Slices that were not made again after the posts cannot slip into a release."""
    yard.save()
    row = yard.rows.pop(1002)
    ledger = yard.ledger.pop(1002)
    if change is not None:
        yard.rows[1002] = row | change
        yard.ledger[1002] = ledger
    else:
        yard.layout.ledger("0002").unlink()
    yard.save_buckets()
    with pytest.raises(ReleaseRefused, match=f"1002: .*{message}"):
        write_manifest(yard.layout, 2021, px512_settings=SETTINGS)


def test_post_in_a_slice_only_is_found(yard: Yard) -> None:
    """A post that only its bucket has is named too."""
    yard.save()
    yard.post(30_001)
    yard.save_buckets()
    with pytest.raises(ReleaseRefused, match="30001: is in a bucket but not in the posts"):
        write_manifest(yard.layout, 2021, px512_settings=SETTINGS)


@pytest.mark.parametrize(
    ("pending", "posts", "fits"), [(20, 30, True), (21, 30, False), (25, 250, True), (26, 250, False)]
)
def test_many_pending_posts_are_an_outage(yard: Yard, pending: int, posts: int, *, fits: bool) -> None:
    """Up to 20 posts, or a tenth, may be pending; more is not a release."""
    yard.rows.clear()
    yard.ledger.clear()
    for number in range(1, posts + 1):
        yard.post(number * 1000 + number % 3, rating="e", reason=Reason.EMPTY if number <= pending else Reason.GONE)
    if fits:
        assert yard.manifest().pending == pending
    else:
        with pytest.raises(ReleaseRefused, match=rf"{pending} of {posts} posts .*empty {pending}.*run the build again"):
            yard.manifest()


def test_missing_and_damaged_inputs_say_what_to_build(yard: Yard) -> None:
    """Without posts or manifest there is nothing to do, and the error says which asset is missing."""
    with pytest.raises(ReleaseError, match="build `posts` first"):
        write_manifest(yard.layout, 2021, px512_settings=SETTINGS)
    with pytest.raises(ReleaseError, match="build `release_manifest` first"):
        read_summary(yard.layout, 2021)
    yard.manifest()
    yard.layout.manifest(2021).write_bytes(b"PAR1")
    with pytest.raises(ReleaseError, match="build `release_manifest` again"):
        read_summary(yard.layout, 2021)


def test_regrouping_over_many_runs_keeps_every_row(yard: Yard) -> None:
    """Rows that were spilled in many pieces come back sorted, group by group, twice if asked."""
    yard.manifest()
    table = pq.read_table(yard.layout.manifest(2021)).replace_schema_metadata(MANIFEST_SCHEMA.metadata)
    with ExternalGroupBy(MANIFEST_SCHEMA, key=by_remainder(1000), run_rows=3) as by_bucket:
        for start in range(table.num_rows - 1, -1, -1):
            by_bucket.add(table.slice(start, 1))
        for _ in range(2):
            groups = {key: rows["id"].to_pylist() for key, rows in by_bucket.groups()}
            assert list(groups) == sorted(groups)
            assert groups[1] == [4001, 8001, 12001, 20001]
            assert sorted(id_ for ids in groups.values() for id_ in ids) == sorted(yard.rows)


def test_files_of_the_store_are_read_only_once_a_manifest_was_made(yard: Yard, tmp_path: Path) -> None:
    """Linking does not look at modes, so the manifest, which looks at each file, does; it does not follow a link."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    outside.chmod(0o644)
    folder = yard.layout.original_bucket("0001")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "99001.jpg").symlink_to(outside)
    yard.manifest()
    files = [*yard.layout.store.glob("original/*/*"), *yard.layout.store.glob("512px/*/*")]
    assert {path.stat().st_mode & 0o777 for path in files if not path.is_symlink()} == {0o444}
    assert outside.stat().st_mode & 0o777 == 0o644
