"""Settings: read once, refused in one clear line, secrets never shown."""

import dataclasses

import pytest

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.settings import PREFIX, Settings

LOOPBACK = {"DANBOORU_API_URL": "http://127.0.0.1:1", "DANBOORU_CDN_URL": "http://localhost:2"}


def test_public_host_needs_a_contact() -> None:
    """Without a contact nothing is sent to a public host."""
    with pytest.raises(SettingsError, match="DANBOORU_CONTACT"):
        Settings.from_env({})


def test_loopback_needs_no_contact() -> None:
    """The demo and the tests need not say who they are."""
    settings = Settings.from_env(LOOPBACK)
    assert settings.on_loopback
    assert settings.pace > 100


def test_one_public_host_is_enough_to_need_a_contact() -> None:
    """A public file host with a loopback API is still a public host."""
    with pytest.raises(SettingsError, match="DANBOORU_CONTACT"):
        Settings.from_env({"DANBOORU_API_URL": "http://127.0.0.1:1"})


def test_public_host_gets_a_polite_pace() -> None:
    """By default the pace stays below the ten requests a second that the site allows."""
    settings = Settings.from_env({"DANBOORU_CONTACT": "me@example.org"})
    assert settings.pace < 10
    assert settings.downloads == 4
    assert settings.user_agent.endswith("(+me@example.org)")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_URL", "danbooru"),
        ("API_URL", "ftp://127.0.0.1"),
        ("API_URL", "http://danbooru.donmai.us"),
        ("CDN_URL", "https://me:secret@cdn.donmai.us"),
        ("REQUESTS_PER_SECOND", "0"),
        ("REQUESTS_PER_SECOND", "-1"),
        ("REQUESTS_PER_SECOND", "nan"),
        ("REQUESTS_PER_SECOND", "inf"),
        ("REQUESTS_PER_SECOND", "fast"),
        ("DOWNLOADS_PARALLEL", "0"),
        ("WORKERS", "1.5"),
        ("POSTS_SOURCE", "gopher"),
        ("FIRST_YEAR", "1999"),
        ("PNG_LEVEL", "9"),
        ("PX512_QUALITY", "0"),
        ("LOGIN", "me"),
        ("CONTACT", "two\nlines"),
    ],
)
def test_bad_value_is_refused_in_one_line(name: str, value: str) -> None:
    """A value that cannot be right is refused, and the message names the setting."""
    env = {"DANBOORU_CONTACT": "me@example.org", PREFIX + name: value}
    with pytest.raises(SettingsError, match="DANBOORU_") as caught:
        Settings.from_env(env)
    assert "\n" not in str(caught.value)


def test_api_key_is_never_shown() -> None:
    """Neither the repr nor the table of settings holds the key."""
    env = {**LOOPBACK, "DANBOORU_LOGIN": "me", "DANBOORU_API_KEY": "hunter2"}
    settings = Settings.from_env(env)
    assert settings.api_key == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.shown())


def test_misspelt_setting_is_noticed() -> None:
    """A variable that looks like a setting and is none is named."""
    assert Settings.unknown({"DANBOORU_CONTCAT": "me", "DANBOORU_ROOT": "x", "HOME": "y"}) == ["DANBOORU_CONTCAT"]


def test_every_setting_says_what_it_is() -> None:
    """Each setting is declared with a help text."""
    for field in dataclasses.fields(Settings):
        assert field.metadata["help"]
