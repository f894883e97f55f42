"""What must not be in a release: posts that were taken down, blocked files, and anything nobody has decided on."""

import hashlib
import lzma
from pathlib import Path

import pytest

from danbooru_pipeline.consume import open_release
from danbooru_pipeline.errors import ReleaseRefused, SettingsError
from danbooru_pipeline.posts.takedowns import Takedowns, read_takedowns, write_takedowns
from danbooru_pipeline.release import (
    apply_snapshot,
    apply_takedown,
    plan_snapshot,
    plan_takedown,
    read_release,
    require_decision,
    verify_release,
)
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.manifest.blocklist import blocked_ids, read_blocklist
from danbooru_pipeline.release.mentions import Search
from danbooru_pipeline.release.signing import public_key
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources.excluding import SourceWithout
from danbooru_pipeline.sources.source import Page
from danbooru_pipeline_tests.support.keys import make_key
from danbooru_pipeline_tests.support.trees import lines
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard, tree_state


def test_planned_takedown_changes_nothing(two_years: Yard) -> None:
    """A dry run says which releases would be made again and touches no file."""
    before = tree_state(two_years.layout.root)
    said = plan_takedown(two_years.layout, [1002, 77]).lines()
    assert said[0] == "would take down 2 posts and remove 1 file from the store"
    assert "would make danbooru2021 2021.1 in place of 2021.0" in said
    assert "would make danbooru2022 2022.1 in place of 2022.0" in said
    assert said[-1] == "in no release, and kept out of later ones: 77"
    assert tree_state(two_years.layout.root) == before


def test_post_is_gone_from_everything_but_the_tombstones(two_years: Yard) -> None:
    """Both releases lose the post's files, rows, notes and list entries; version, changes and feed say so."""
    layout = two_years.layout
    sha256 = hashlib.sha256(layout.original(1002, "jpg").read_bytes()).hexdigest()
    made = apply_takedown(plan_takedown(layout, [1002]), created_at=NOW, threads=2)
    assert [release.version for release in made] == ["2021.1", "2022.1"]
    assert not layout.original(1002, "jpg").exists()
    for year in (2021, 2022):
        folder = layout.release(year)
        assert verify_release(folder, full=True).ok
        assert lines(folder / "removed.txt") == ["1002"]
        assert "original/0002/1002.jpg" in lines(folder / f"changes/{year}.1-from-{year}.0.remove.txt")
        assert f"danbooru{year} {year}.1" in (folder / "feed.atom").read_text()
        assert "1 post taken down so far" in (folder / "feed.atom").read_text()
        texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".xz"]
        assert not any(sha256.encode() in text for text in texts)
        assert 1002 not in open_release(folder).search_ids("")
        assert Search(frozenset({1002})).of_release(folder) == set()
        archive = lzma.decompress((folder / "metadata.json.tar.xz").read_bytes())
        assert b'"id":"1002"' not in archive
        assert b'"post_id":"1002"' not in archive
        assert b'"post_id":"2003"' in archive
    assert read_release(layout.release(2022)).previous == made[0].ref


def test_other_images_stay_the_same_files(two_years: Yard) -> None:
    """Making a release again takes no space: all other files are linked from the old one."""
    folder = two_years.layout.release(2021)
    before = {
        path: inode for path, (inode, _) in tree_state(folder).items() if path.startswith(("original", "512px/0"))
    }
    apply_takedown(plan_takedown(two_years.layout, [1002]), created_at=NOW, threads=2)
    after = {path: inode for path, (inode, _) in tree_state(folder).items() if path.startswith(("original", "512px/0"))}
    assert before.keys() - after.keys() == {"original/0002/1002.jpg"}
    assert after == {path: before[path] for path in after}


def test_second_takedown_of_the_same_post_does_nothing(two_years: Yard) -> None:
    """The same ids again make no new version."""
    apply_takedown(plan_takedown(two_years.layout, [1002]), created_at=NOW, threads=2)
    assert apply_takedown(plan_takedown(two_years.layout, [1002]), created_at=NOW, threads=2) == []


def test_next_build_of_the_newest_year_finds_nothing_to_do(two_years: Yard) -> None:
    """After a takedown, a build from the same source changes nothing; the post does not come back."""
    apply_takedown(plan_takedown(two_years.layout, [1002]), created_at=NOW, threads=2)
    plan = plan_snapshot(two_years.layout, 2022, image_settings=IMAGE_SETTINGS)
    assert plan.summary.posts == read_release(two_years.layout.release(2022)).counts.posts
    assert plan.inputs.manifest == read_release(two_years.layout.release(2022)).inputs.manifest


def test_nothing_is_built_while_a_takedown_is_unfinished(two_years: Yard) -> None:
    """A half-done removal is finished first."""
    takedowns = read_takedowns(two_years.layout)
    write_takedowns(two_years.layout, Takedowns(posts=takedowns.posts, unfinished=True))
    with pytest.raises(ReleaseRefused, match="takedown --resume"):
        plan_snapshot(two_years.layout, 2022, image_settings=IMAGE_SETTINGS)


class OnePage:
    """A source with two posts and two notes."""

    name = "page"

    @property
    def identity(self) -> dict[str, str]:
        """It is one of a kind."""
        return {}

    def probe(self) -> None:
        """The source answers."""

    def posts_after(self, cursor: int) -> Page:
        """Both posts; one id is text, as some sources have it."""
        assert cursor == 0
        return Page(records=({"id": 5}, {"id": "6"}, {"md5": "x"}), last_id=6)

    def table_after(self, table: str, cursor: int) -> Page | None:
        """Both notes, and a table that is absent."""
        assert cursor == 0
        return None if table == "pools" else Page(records=({"id": 6, "post_id": 5}, {"id": 7, "post_id": 6}), last_id=7)

    def count_posts(self, *, up_to: int) -> int | None:
        """The source does not say."""
        assert up_to
        return None

    def newest_id(self, table: str) -> int | None:
        """The source does not say."""
        assert table
        return None


def test_source_does_not_bring_posts_back() -> None:
    """A sweep sees neither a post that was taken down nor its records in side tables; the cursor advances past it."""
    source = SourceWithout(OnePage(), {6})
    assert source.posts_after(0) == Page(records=({"id": 5}, {"md5": "x"}), last_id=6)
    assert source.table_after("notes", 0) == Page(records=({"id": 6, "post_id": 5},), last_id=7)
    assert source.table_after("pools", 0) is None


def test_blocklist_is_found_by_any_sum(yard: Yard, tmp_path: Path) -> None:
    """A post is blocked by the source's MD5 and by the SHA-256 of our file."""
    yard.manifest()
    row = yard.ledger[1002]
    listed = tmp_path / "list"
    listed.write_text(f"# mine\n{row.md5}\n\n{str(yard.ledger[2003].sha256).upper()}\n")
    assert blocked_ids(yard.layout, 2021, read_blocklist(listed)) == [1002, 2003]
    assert blocked_ids(yard.layout, 2021, frozenset()) == []


def test_damaged_blocklist_stops_and_is_not_shown(tmp_path: Path) -> None:
    """A line that is not a hash is an error that gives its number and not its text."""
    (tmp_path / "list").write_text("secret words\n")
    with pytest.raises(SettingsError, match="line 1") as caught:
        read_blocklist(tmp_path / "list")
    assert "secret" not in str(caught.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_blocklist(tmp_path / "absent")


@pytest.mark.parametrize(("value", "decided"), [(None, False), ("none", True), ("", True), ("guro, loli", True)])
def test_publication_from_public_hosts_needs_a_decision(yard: Yard, value: str | None, *, decided: bool) -> None:
    """Unless DANBOORU_EXCLUDE_TAGS is set, no public data becomes current; `none`, nothing and tags are decisions."""
    env = {"DANBOORU_CONTACT": "me@example.org"} | ({} if value is None else {"DANBOORU_EXCLUDE_TAGS": value})
    settings = Settings.from_env(env)
    assert settings.excluded == (frozenset({"guro", "loli"}) if value and value != "none" else frozenset())
    if decided:
        require_decision(yard.layout, settings)
    else:
        with pytest.raises(ReleaseRefused, match="DANBOORU_EXCLUDE_TAGS") as caught:
            require_decision(yard.layout, settings)
        assert caught.value.exit_code == 1
        assert "\n" not in str(caught.value)


def test_loopback_needs_no_decision(yard: Yard) -> None:
    """The demo and the tests publish as they are."""
    env = {"DANBOORU_API_URL": "http://127.0.0.1:1", "DANBOORU_CDN_URL": "http://127.0.0.1:2"}
    require_decision(yard.layout, Settings.from_env(env))


@pytest.mark.needs("ssh-keygen")
def test_signature_is_made_and_checked(yard: Yard, tmp_path: Path) -> None:
    """With a key SHA256SUMS is signed; verification says good, and bad after any change or with another key."""
    for name in ("key", "other"):
        make_key(tmp_path / name)
    yard.manifest()
    options = DocumentOptions(signer=public_key(tmp_path / "key"))
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS, options=options)
    apply_snapshot(plan, created_at=NOW, threads=1, signing_key=tmp_path / "key")
    folder = yard.layout.release(2021)
    assert verify_release(folder).signature == "good"
    other = tmp_path / "signers"
    other.write_text(f"danbooru-release {public_key(tmp_path / 'other')}\n")
    assert verify_release(folder, signers=other).counts == {"signature": 1}
    (folder / "SHA256SUMS.sig").unlink()
    assert "signature" in verify_release(folder).counts


@pytest.mark.needs("ssh-keygen")
def test_key_that_cannot_sign_is_told(tmp_path: Path) -> None:
    """A file that is not a key is a wrong setting."""
    (tmp_path / "key").write_text("no key")
    with pytest.raises(SettingsError, match="DANBOORU_SIGNING_KEY"):
        public_key(tmp_path / "key")
