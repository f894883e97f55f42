"""A release without posts, built of nothing or left of takedowns: every reader of it has an empty answer."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import expect

from danbooru_pipeline import open_release
from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume import UnknownTag
from danbooru_pipeline.consume.errors import NoImage
from danbooru_pipeline.consume.exports import EXPORTS
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import apply_takedown, plan_takedown
from danbooru_pipeline_tests.support.browsers import browse_of, chromium, page_of
from danbooru_pipeline_tests.support.yard import NOW, Yard


@pytest.fixture(scope="module", params=["built of nothing", "all taken down"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release without posts."""
    yard = Yard(Layout(tmp_path_factory.mktemp("empty") / "root"), year=2022)
    if request.param == "built of nothing":
        return yard.release()
    yard.post(7, rating="g")
    folder = yard.release()
    apply_takedown(plan_takedown(yard.layout, [7]), created_at=NOW, threads=1)
    return folder


def run(*words: object) -> tuple[int, str, str]:
    """The command's exit code, what it prints, and what it says on standard error."""
    done = CliRunner().invoke(main, list(map(str, words)))
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [(), ("--unique",), ("--sample", "5"), ("--tree", "original"), ("order:score",), ("pool:any or score:>3",)],
)
def test_select_prints_nothing(release: Path, words: tuple[str, ...]) -> None:
    """Without posts a selection is empty, which is no error."""
    assert run("select", release, *words) == (0, "", "")


def test_a_tag_is_unknown(release: Path) -> None:
    """A tag, a pattern and a pool that posts must have are unknown, as in any release."""
    for text in ("1girl", "1gi*", "pool:5"):
        with pytest.raises(UnknownTag, match="no post of danbooru2022"):
            open_release(release).search_ids(text)


def test_opened_release_is_empty(release: Path) -> None:
    """Tables, searches, images and comparisons of an opened release have no rows."""
    opened = open_release(release)
    for name in opened.tables:
        assert opened.table(name).empty
        assert not list(opened.batches(name))
    assert opened.search("order:score").empty
    assert opened.search_ids("-1girl rating:g").tolist() == []
    assert not list(opened.images())
    assert opened.compare(release).empty
    with pytest.raises(NoImage, match="has no post 7; it has no posts"):
        opened.image(7)


@pytest.mark.parametrize("form", sorted(EXPORTS.keys() - {"faces"}))
def test_every_export_is_empty(release: Path, tmp_path: Path, form: str) -> None:
    """Each form is written with no post in it."""
    target = tmp_path / "out"
    code, _, said = run("export", form, release, target)
    assert (code, said) == (0, f"0 posts in {target}\n")
    assert target.exists()


@pytest.mark.parametrize("words", [(), ("--together",)])
def test_there_are_no_tags_to_sample(release: Path, words: tuple[str, ...]) -> None:
    """Sampling of tags says that no post has one, and does not take the release for an older one."""
    code, printed, said = run("sample-tags", release, *words)
    assert (code, printed) == (2, "")
    assert said == "danbooru-pipeline: no post of the release has a tag; use another release\n"


@pytest.mark.parametrize(
    "words",
    [
        ("candidates", "2022"), ("review", "2022", "--rules"), ("estimate", "2022"), ("implications", "2022"),
        ("corrections",), ("submit", "2022"),
    ],
)  # fmt: skip
def test_curation_has_nothing_to_do(release: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """Candidates, review and the rest find nothing, and end well."""
    monkeypatch.setenv("DANBOORU_ROOT", str(release.parents[1]))
    if words[0] == "review":
        run("curate", "candidates", "2022")
    assert run("curate", *words)[0] == 0


@pytest.mark.slow(10)
@pytest.mark.needs("chromium")
def test_page_has_no_posts(release: Path) -> None:
    """The page shows that there are no posts, and a tag is one that no post has."""
    with browse_of(release) as url, chromium() as browser, page_of(browser) as page:
        page.goto(f"{url}#q=order:score")
        expect(page.locator(".hint")).to_have_text("No posts.")
        page.goto(f"{url}#q=1girl")
        expect(page.locator("#message")).to_have_text("no post has the tag “1girl” (at 1)")
