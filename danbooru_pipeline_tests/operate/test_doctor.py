"""The findings of `doctor`."""

import pytest

from danbooru_pipeline.operate.doctor import CHECKS, Health, examine
from danbooru_pipeline.settings import Settings


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
