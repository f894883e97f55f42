"""Sources by their names in the settings: each opens, or says which setting it lacks."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources.open import open_bulk

NOW = datetime(2022, 1, 20, tzinfo=UTC)


def test_files_open_where_the_settings_say(tmp_path: Path) -> None:
    """A dump and an archive are read from their own settings."""
    settings = Settings(dump=str(tmp_path), archive=str(tmp_path))
    for name in ("dump", "archive"):
        source = open_bulk(name, settings, now=NOW)
        source.probe()
        assert source.name == name


@pytest.mark.parametrize("name", ["dump", "archive"])
def test_source_without_its_setting_is_refused(name: str) -> None:
    """The error names the variable to set."""
    with pytest.raises(SettingsError, match=f"DANBOORU_{name.upper()}"):
        open_bulk(name, Settings(), now=NOW)


def test_emulator_of_bigquery_needs_a_place_for_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official variable names the REST address only; rows come from another one, which has a setting."""
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(SettingsError, match="DANBOORU_BIGQUERY_GRPC"):
        open_bulk("bigquery", Settings(), now=NOW)
