"""The findings of `doctor`."""

from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.doctor import CHECKS, Finding, Health, examine
from danbooru_pipeline.posts.takedowns import Takedowns, write_takedowns
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.raw_server import always, make_answer, serving


def test_healthy_machine_has_no_errors(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a healthy machine with the embedded booru every check has a finding, and none is an error."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    findings = list(examine(settings))
    assert len(findings) == len(CHECKS)
    assert [f.line() for f in findings if f.health is Health.ERROR] == []


def test_dead_source_is_found(settings: Settings) -> None:
    """A source that does not respond and a full disk are errors that say what to do."""
    sick = settings.replace(api_url="http://127.0.0.1:9", retry_seconds=0.1, min_free_bytes=2**62)
    errors = {f.name: f.text for f in examine(sick) if f.health is Health.ERROR}
    assert "DANBOORU_API_URL" in errors["source"]
    assert "DANBOORU_ROOT" in errors["disk"]


def test_credentials_are_never_shown(settings: Settings) -> None:
    """Findings say which credentials are set, but not their values."""
    with_secrets = settings.replace(
        login="me", api_key="k3y-k3y", webhook_url="http://127.0.0.1:9/t0ken", notify_to=("a@example.org",)
    )
    text = "\n".join(finding.line() for finding in examine(with_secrets))
    assert "k3y-k3y" not in text
    assert "t0ken" not in text
    assert "booru account set" in text


def only(settings: Settings, name: str) -> Finding:
    """One finding of all."""
    return next(finding for finding in examine(settings) if finding.name == name)


def test_unfinished_takedown_is_found(settings: Settings) -> None:
    """It prevents every build, so it is an error that says how to go on."""
    assert only(settings, "takedowns").health is Health.OK
    write_takedowns(Layout(settings.root), Takedowns(posts={}, unfinished=True))
    found = only(settings, "takedowns")
    assert (found.health, "takedown --resume" in found.text) == (Health.ERROR, True)


def test_misspelt_setting_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that no setting has is a warning that names it."""
    monkeypatch.setenv("DANBOORU_ROOOT", "x")
    found = only(settings, "settings")
    assert (found.health, "DANBOORU_ROOOT" in found.text) == (Health.WARNING, True)


def test_bigquery_without_credentials_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that needs credentials is an error without them."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    found = only(settings.replace(posts_source="bigquery"), "credentials")
    assert (found.health, "GOOGLE_APPLICATION_CREDENTIALS" in found.text) == (Health.ERROR, True)


@pytest.mark.parametrize(
    ("mode", "health", "words"),
    [(None, Health.WARNING, "does not exist"), (0o666, Health.ERROR, "chmod o-w"), (0o644, Health.OK, "dagster.yaml")],
)
def test_home_of_dagster_is_examined(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None, health: Health, words: str
) -> None:
    """A home without a configuration, or one that everybody may write, is found."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    if mode is not None:
        (tmp_path / "dagster.yaml").touch()
        (tmp_path / "dagster.yaml").chmod(mode)
    found = only(settings, "dagster_home")
    assert (found.health, words in found.text) == (health, True)


@pytest.mark.parametrize(
    ("date", "health", "words"),
    [
        ("", Health.WARNING, "no Date header"),
        ("Sat, 08 Jan 2000 00:00:00 GMT", Health.WARNING, "check the clock by hand"),
        ("Tue, 08 Jan 2008 00:00:00 GMT", Health.ERROR, "NTP"),
    ],
)
def test_clock_is_held_against_that_of_the_site(settings: Settings, date: str, health: Health, words: str) -> None:
    """A clock that is years off is an error; a site whose date is absent or absurd leaves it to the operator."""
    with serving(always(make_answer(b"[]", headers={"Date": date} if date else {}))) as server:
        found = only(settings.replace(api_url=server.url, retry_seconds=0.1), "clock")
    assert (found.health, words in found.text) == (health, True)


def test_site_without_posts_of_the_last_weeks_is_found(settings: Settings, booru: BooruProcess) -> None:
    """A source whose posts end before the latest finished year does is stale, and the warning names a way out."""
    found = only(settings, "source")
    assert (found.health, "DANBOORU_POSTS_SOURCE" in found.text) == (Health.WARNING, True)
