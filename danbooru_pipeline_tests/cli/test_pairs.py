"""Commands at once: each does its work or says why not, and the next plain build ends in the same release."""

import functools
import itertools
from collections.abc import Callable, Iterator

import pytest

from danbooru_pipeline.demo.process import BooruProcess, start_booru
from danbooru_pipeline_tests.support import pairs
from danbooru_pipeline_tests.support.commands import call, environment

COMMANDS = ("build", "other", "follow", "import", "scrub", "takedown", "export", "verify")
PAIRS = tuple(itertools.combinations_with_replacement(COMMANDS, 2))
Meet = Callable[..., pairs.Met]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BooruProcess]:
    """A booru of a dozen posts."""
    with start_booru(posts=12, year=pairs.FIRST, files=tmp_path_factory.mktemp("site"), rate_limit=False) as booru:
        yield booru


@pytest.fixture(scope="module")
def meet(site: BooruProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meet]:
    """Lets commands meet in a root that has its first release, while the site is a year further."""
    folder = tmp_path_factory.mktemp("pairs")
    env = environment(
        root=str(folder / "begin"),
        api_url=site.api_url,
        cdn_url=site.cdn_url,
        png_level="0",
        retry_seconds="3",
        workers="1",
    )
    done = call("build", str(pairs.FIRST), "--buckets", pairs.BUCKETS, env=env)
    assert done.returncode == 0, done.stderr
    site.set_year(pairs.YEAR)
    calm = functools.cache(lambda taken: pairs.expected(folder, taken=taken))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        yield functools.partial(pairs.meet, folder, calm=calm)


def check(met: pairs.Met) -> None:
    """Every end is one that is documented, with its line, and what is published in the end is as undisturbed."""
    for code, said in zip(met.codes, met.said, strict=True):
        assert code in pairs.ENDS, (code, said)
        assert "Traceback" not in said, said
        if code in pairs.REFUSED:
            assert said.splitlines()[-1].startswith("danbooru-pipeline: "), said
    assert met.differs == ()


@pytest.mark.slow(20)
@pytest.mark.timeout(600)
def test_builds_at_once_end_as_one_after_the_other(meet: Meet) -> None:
    """Case side_tables_race: two builds of a year and one of another; what cannot be done at once is refused."""
    met = meet(("build", "build", "other"), seconds=0.0)
    check(met)
    assert 0 in met.codes


@pytest.mark.slow(25)
@pytest.mark.timeout(600)
def test_all_commands_at_once_end_as_one_after_the_other(meet: Meet) -> None:
    """Every kind of command begins while the others run; nobody waits for ever, and nothing is lost."""
    check(meet(COMMANDS, seconds=0.3))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_any_two_commands_at_once_end_as_one_after_the_other(meet: Meet, pair: tuple[str, str], seconds: float) -> None:
    """All 36 pairs of eight commands, the second some moments after the first."""
    check(meet(pair, seconds=seconds))
