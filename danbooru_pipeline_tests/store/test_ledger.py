"""The ledger and its plan: pure comparisons of posts, rows and files."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.images import ImageFacts, ImageResult
from danbooru_pipeline.outcomes import REASONS, Reason, Status
from danbooru_pipeline.posts import Fetch, Post
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger, with_px512, write_ledger
from danbooru_pipeline.store.plan import list_files, plan_bucket

MD5, OTHER = "a" * 32, "b" * 32


def post(**changes: object) -> Post:
    """A visible post."""
    values: dict[str, object] = {
        "id": 1000,
        "md5": MD5,
        "ext": "png",
        "file_size": 9,
        "rating": "s",
        "file_url": "https://x/y",
        "is_banned": False,
        "tags": "1girl solo",
    }
    return Post(**values | changes)  # type: ignore[arg-type]


OK_ROW = LedgerRow(id=1000, md5=MD5, ext="png", size=7, sha256="0" * 64, fetched_md5=MD5, first_release=2021)
FILES = {"1000.png": 7}


def test_flags_of_before_are_mended() -> None:
    """A 512px image made now proves that damage seen by an earlier version was none; without one, the flags stay."""
    row = dataclasses.replace(OK_ROW, flags=("corrupt",))
    made = ImageResult(facts=ImageFacts("jpg", flags=("trailing_data",)), sha256="", size=1, px512_sha256="1" * 64)
    assert with_px512(row, made, settings="new").flags == ("trailing_data",)
    refused = dataclasses.replace(made, px512_sha256=None, px512_reason=Reason.DAMAGED)
    assert with_px512(row, refused, settings="new").flags == ("corrupt",)
    assert with_px512(dataclasses.replace(row, flags=("apng",)), made, settings="new").flags == ("apng",)


def test_new_post_is_fetched() -> None:
    """The file of a post without a row is fetched."""
    assert plan_bucket([post()], {}, {}, release=2021).fetch == (Fetch.of(post()),)


def test_only_a_post_that_names_a_file_can_be_fetched() -> None:
    """A planned file has an MD5 and an extension that make a path; posts without them give none."""
    assert (Fetch.of(post()).md5, Fetch.of(post()).ext) == (MD5, "png")
    for bad in (post(md5=None), post(ext=None), post(ext="exe"), post(md5="../x"), post(file_size=0)):
        with pytest.raises(ValueError, match="names no file"):
            Fetch.of(bad)


def test_complete_row_is_kept() -> None:
    """A post whose file is there in full is left alone."""
    plan = plan_bucket([post()], {1000: OK_ROW}, FILES, release=2022)
    assert plan.keep == (OK_ROW,)
    assert (plan.fetch, plan.settle, plan.recheck) == ((), (), ())


@pytest.mark.parametrize("files", [{}, {"1000.png": 0}, {"1000.png": 6}, {"1000.jpg": 7}])
def test_row_without_its_file_is_work(files: dict[str, int]) -> None:
    """A row is not believed when the file is missing, empty, of another size or another kind."""
    assert plan_bucket([post()], {1000: OK_ROW}, files, release=2021).fetch == (Fetch.of(post()),)


def test_changed_md5_is_fetched_again() -> None:
    """A replaced file has another MD5; the plan counts it as changed."""
    plan = plan_bucket([post(md5=OTHER)], {1000: OK_ROW}, FILES, release=2022)
    assert plan.fetch == (Fetch.of(post(md5=OTHER)),)
    assert plan.changed == 1


@pytest.mark.parametrize("reason", [r for r, (status, _) in REASONS.items() if status is Status.PENDING])
def test_pending_is_fetched_again(reason: Reason) -> None:
    """Every pending reason is work for the next run."""
    row = LedgerRow(id=1000, md5=MD5, ext="png", reason=reason)
    assert plan_bucket([post()], {1000: row}, {}, release=2021).fetch == (Fetch.of(post()),)


@pytest.mark.parametrize("reason", [Reason.GONE, Reason.TOO_LARGE])
def test_final_without_a_file_is_asked_about_once_a_release(reason: Reason) -> None:
    """A file that the host did not have is work for a release that has not asked yet, and for no other."""
    row = LedgerRow(id=1000, md5=MD5, ext="png", reason=reason, checked_release=2022)
    for release in (2022, 2021):
        plan = plan_bucket([post()], {1000: row}, {}, release=release)
        assert (plan.fetch, plan.settle, plan.recheck) == ((), (), ())
    due = plan_bucket([post()], {1000: row}, {}, release=2023)
    assert (due.fetch, due.recheck) == ((Fetch.of(post()),), (1000,))
    assert not plan_bucket([post(md5=None)], {1000: row}, {}, release=2023).recheck, "its sweep has just said so"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"md5": None}, Reason.RESTRICTED),
        ({"is_doubtful": True}, Reason.BAD_ROW),
        ({"md5": None, "is_doubtful": True}, Reason.BAD_ROW),
        ({"is_banned": True}, Reason.BANNED),
        ({"md5": "A" * 32}, Reason.BAD_ROW),
        ({"md5": "../../etc/passwd"}, Reason.BAD_ROW),
        ({"ext": "exe"}, Reason.BAD_ROW),
        ({"ext": "../x"}, Reason.BAD_ROW),
        ({"ext": None}, Reason.BAD_ROW),
        ({"file_size": -1}, Reason.BAD_ROW),
        ({"file_size": 0}, Reason.BAD_ROW),
        ({"file_size": 2**62}, Reason.BAD_ROW),
        ({"tags": "solo guro"}, Reason.EXCLUDED_TAG),
        ({"tags": None}, Reason.TAGS_UNKNOWN),
    ],
)
def test_post_that_gets_no_request(changes: dict[str, object], reason: Reason) -> None:
    """Hidden, banned, excluded and nonsensical rows are settled without asking anybody."""
    plan = plan_bucket([post(**changes)], {}, {}, exclude_tags=frozenset({"guro"}), release=2021)
    assert not plan.fetch
    assert [row.reason for row in plan.settle] == [reason]


def test_excluded_tag_is_a_whole_tag() -> None:
    """`hat` excludes the tag hat, and not that."""
    assert plan_bucket([post(tags="that")], {}, {}, exclude_tags=frozenset({"hat"}), release=2021).fetch


def test_unknown_tags_matter_only_where_tags_are_excluded() -> None:
    """Without excluded tags, a post whose tags the source does not give is fetched like any other."""
    assert plan_bucket([post(tags=None)], {}, {}, release=2021).fetch
    assert plan_bucket([post(tags="")], {}, {}, exclude_tags=frozenset({"hat"}), release=2021).fetch


def test_post_that_left_the_source_is_removed() -> None:
    """An expunged post's row says so, and keeps what was known of its file."""
    plan = plan_bucket([], {1000: OK_ROW}, FILES, release=2022)
    assert plan.settle == (dataclasses.replace(OK_ROW, reason=Reason.EXPUNGED),)


def test_later_posts_are_not_expunged_from_an_earlier_year() -> None:
    """Working on an older release leaves rows of a newer one alone."""
    row = dataclasses.replace(OK_ROW, first_release=2022)
    assert plan_bucket([], {1000: row}, FILES, release=2021).keep == (row,)


def test_hidden_post_that_is_shown_again_is_work() -> None:
    """A post that was withheld and is visible now is looked at again."""
    row = dataclasses.replace(OK_ROW, reason=Reason.RESTRICTED)
    assert plan_bucket([post()], {1000: row}, FILES, release=2022).fetch == (Fetch.of(post()),)


rows = st.builds(
    LedgerRow,
    id=st.integers(1, 9).map(lambda n: n * 1000),
    md5=st.sampled_from([MD5, OTHER, None]),
    ext=st.sampled_from(["png", "jpg"]),
    reason=st.none() | st.sampled_from(Reason),
    size=st.none() | st.integers(0, 9),
    attempts=st.integers(0, 9),
    flags=st.lists(st.sampled_from(["truncated", "apng"]), unique=True).map(tuple),
    fetched_at=st.none() | st.just(datetime(2022, 1, 1, tzinfo=UTC)),
    px512_reason=st.none() | st.sampled_from(Reason),
    first_release=st.none() | st.integers(2021, 2023),
    checked_release=st.none() | st.integers(2021, 2023),
)
posts = st.builds(
    post,
    id=st.integers(1, 9).map(lambda n: n * 1000),
    md5=st.sampled_from([MD5, OTHER, None]),
    ext=st.sampled_from(["png", "jpg", "exe"]),
    is_banned=st.booleans(),
)
files = st.dictionaries(
    st.sampled_from([f"{n}000.{e}" for n in range(1, 10) for e in ("png", "jpg")]), st.integers(0, 9)
)


@given(st.lists(posts, unique_by=lambda p: p.id), st.lists(rows, unique_by=lambda r: r.id), files)
def test_plan_accounts_for_every_post_once(some: list[Post], known: list[LedgerRow], there: dict[str, int]) -> None:
    """Each post and each row lands in exactly one part of the plan, whatever was known before."""
    plan = plan_bucket(some, {row.id: row for row in known}, there, release=2022)
    planned = [p.id for p in plan.fetch] + [row.id for row in (*plan.settle, *plan.keep)]
    assert sorted(planned) == sorted({p.id for p in some} | {row.id for row in known})


@given(st.lists(posts, unique_by=lambda p: p.id), st.lists(rows, unique_by=lambda r: r.id), files)
def test_planning_again_after_settling_finds_nothing_to_settle(
    some: list[Post], known: list[LedgerRow], there: dict[str, int]
) -> None:
    """Settled rows stay settled: the second plan asks for the same files and settles nothing."""
    first = plan_bucket(some, {row.id: row for row in known}, there, release=2022)
    after = {row.id: row for row in (*first.keep, *first.settle)}
    fetched = {post.id for post in first.fetch}
    after |= {row.id: row for row in known if row.id in fetched}
    second = plan_bucket(some, after, there, release=2022)
    assert second.fetch == first.fetch
    assert not second.settle


@given(st.lists(rows, unique_by=lambda r: r.id))
def test_rows_survive_the_file(tmp_path_factory: pytest.TempPathFactory, known: list[LedgerRow]) -> None:
    """What is written is what is read."""
    path = tmp_path_factory.mktemp("ledger") / "0000.parquet"
    write_ledger(path, known)
    assert read_ledger(path) == {row.id: row for row in known}


def test_only_whole_visible_files_are_listed(tmp_path: Path) -> None:
    """Unfinished files and folders are no files of a bucket."""
    (tmp_path / "1000.png").write_bytes(b"1234567")
    (tmp_path / ".2000.png.ab.part").write_bytes(b"1")
    (tmp_path / "folder").mkdir()
    assert list_files(tmp_path) == FILES
    assert list_files(tmp_path / "absent") == {}


def test_journal_gives_back_its_rows_and_no_half_ones(tmp_path: Path) -> None:
    """Rows that were added come back as they were; a line that a kill cut off is left out, what follows it is not."""
    path = tmp_path / "ledger" / ".0007.journal"
    row = LedgerRow(id=7, md5="0" * 32, ext="jpg", fetched_at=datetime(2022, 1, 2, tzinfo=UTC), flags=("a", "b"))
    bad = LedgerRow(id=1007, reason=Reason.GONE, attempts=3)
    journal = Journal(path)
    assert journal.read() == []
    journal.add(row)
    journal.close()
    with path.open("ab") as file:
        file.write(b'\n{"id": 2007, "md5": "00')
    journal.add(bad)
    assert Journal(path).read() == [row, bad]
    journal.clear()
    assert not path.exists()
