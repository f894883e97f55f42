"""Settings: declared once, read from the environment alone, refused in one clear line each, secrets never shown."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.settings import PREFIX, Declaration, Origin, SettingInForce, Settings, settings_in_force
from danbooru_pipeline.settings.declaration import declarations_of
from danbooru_pipeline.settings.listing import settings_lines
from danbooru_pipeline_tests.support.refused_settings import REFUSED

LOOPBACK = {"DANBOORU_API_URL": "http://127.0.0.1:1", "DANBOORU_CDN_URL": "http://localhost:2"}
DECLARED = declarations_of(Settings)
ENOUGH = {"DANBOORU_CONTACT": "me@example.org"}


def complaints(env: dict[str, str]) -> list[str]:
    """What is said about the settings of an environment, line by line; nothing when they are valid."""
    try:
        Settings.from_env(env)
    except SettingsError as error:
        return str(error).split("\n")
    return []


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
    settings = Settings.from_env(ENOUGH)
    assert settings.pace < 10
    assert settings.downloads == 4
    assert settings.user_agent.endswith("(+me@example.org)")


@pytest.mark.parametrize(("name", "value", "wanted"), REFUSED)
def test_bad_value_is_refused_in_one_line_that_says_what_is_wanted(name: str, value: str, wanted: str) -> None:
    """The line names the variable as it was written, shows its value unless that is secret, and says what to set."""
    (line,) = complaints(ENOUGH | {PREFIX + name: value})
    shown = "'***'" if "URL" in name and "hunter2" in value else repr(value)
    if "@" in value:
        shown = repr(f"***@{value.rpartition('@')[2]}")
    assert line == f"{PREFIX}{name} is {shown}, which is not valid; set it to {wanted}"


def test_every_setting_that_can_be_wrong_is_tried() -> None:
    """The cases above cover all settings but those that take any text."""
    any_text = {"root", "contact", "login", "api_key", "dump", "archive", "bigquery_tables", "bigquery_grpc"}
    any_text |= {"exclude_tags", "hash_blocklist", "signing_key", "notify_to", "notify_from"}
    tried = {name for name, _, _ in REFUSED}
    assert {each.field for each in DECLARED if each.field.upper() not in tried} == any_text


@given(declaration=st.sampled_from(DECLARED), text=st.text() | st.from_regex(r"\A\w{0,5}:?/{0,2}\[?[@:.\w]*\Z"))
def test_any_text_is_taken_or_refused_in_one_line(declaration: Declaration, text: str) -> None:
    """Whatever a variable holds, it becomes a value or one line that names it; a secret is not in that line."""
    said = complaints(
        {**LOOPBACK, **ENOUGH, "DANBOORU_LOGIN": "x", "DANBOORU_API_KEY": "x", declaration.variable: text}
    )
    assert len(said) <= 1
    if said and "set it to" in said[0]:
        assert said[0].startswith(declaration.variable)
        assert not declaration.secret or " is '***', which" in said[0]


def test_all_bad_values_are_named_at_once() -> None:
    """Each wrong setting has its own line, in the order of the README."""
    said = complaints({"DANBOORU_FIRST_YEAR": "x", "DANBOORU_WORKERS": "y", "DANBOORU_API_URL": "z"})
    assert [line.split()[0] for line in said] == ["DANBOORU_API_URL", "DANBOORU_WORKERS", "DANBOORU_FIRST_YEAR"]


@pytest.mark.parametrize(("name", "value"), [("LOGIN", "me"), ("API_KEY", "hunter2"), ("CONTACT", "two\nlines")])
def test_settings_that_do_not_fit_together_are_refused_in_one_line(name: str, value: str) -> None:
    """A login without its key, or a contact that fits into no header, is refused; the key is not shown."""
    (line,) = complaints(ENOUGH | {PREFIX + name: value})
    assert "DANBOORU_" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("ROOT", " /srv/x ", "root", Path("/srv/x")),
        ("ROOT", "", "root", Path("data")),
        ("API_URL", "http://[::1]:3/", "api_url", "http://[::1]:3"),
        ("PUBLIC_URL", "https://x.org/r//", "public_url", "https://x.org/r"),
        ("EXCLUDE_TAGS", "", "exclude_tags", ()),
        ("EXCLUDE_TAGS", "none", "exclude_tags", ()),
        ("EXCLUDE_TAGS", "a,b  c", "exclude_tags", ("a", "b", "c")),
        ("EXCLUDE_TAGS", "none a", "exclude_tags", ("none", "a")),
        ("NOTIFY_TO", "", "notify_to", ()),
        ("NOTIFY_TO", "a@x, b@x", "notify_to", ("a@x", "b@x")),
        ("TABLES_SOURCE", "", "tables_source", None),
        ("TORRENT", "ON", "torrent", True),
        ("WORKERS", "+1_0", "workers", 10),
        ("MIN_FREE_BYTES", "0", "min_free_bytes", 0),
        ("SETTLING_DAYS", "-0.5", "settling_days", -0.5),
        ("REQUESTS_PER_SECOND", "1e1", "requests_per_second", 10.0),
        ("SIGNING_KEY", "k", "signing_key", Path("k")),
        ("JPG_ARCHIVE", "jxl", "jpg_archive", "jxl"),
    ],
)
def test_text_becomes_a_value(name: str, text: str, field: str, value: object) -> None:
    """Blanks around a value do not count, an empty one is unset, and each kind is parsed by its own rules."""
    assert getattr(Settings.from_env({**ENOUGH, **LOOPBACK, PREFIX + name: text}), field) == value


def test_defaults_are_what_they_were() -> None:
    """Without any variable, every setting has the default that releases were made with."""
    settings = Settings()
    assert settings.exclude_tags is None
    assert (settings.first_year, settings.px512_quality, settings.png_level, settings.max_pixels) == (
        2021, 90, 2, 200_000_000,
    )  # fmt: skip
    assert (settings.retry_seconds, settings.poll_seconds, settings.settling_days) == (120.0, 21_600.0, 21.0)
    assert (settings.publisher, settings.min_free_bytes, settings.ui_url) == (
        "Anonymous", 268_435_456, "http://127.0.0.1:3000",
    )  # fmt: skip
    switches = {settings.webdataset, settings.torrent, settings.dialect_2017, settings.automation}
    assert switches == {False}


def test_only_the_given_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keywords are not mixed with the environment, and neither a .env file nor lower-case names are read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DANBOORU_PUBLISHER=file\n")
    monkeypatch.setenv("DANBOORU_PUBLISHER", "environment")
    assert Settings(workers=1).publisher == "Anonymous"
    assert Settings.from_env(LOOPBACK | {"danbooru_publisher": "small"}).publisher == "Anonymous"
    assert Settings.from_env(LOOPBACK | {"DANBOORU_PUBLISHER": "given"}).publisher == "given"


@pytest.mark.parametrize(
    ("env", "publisher"),
    [
        ({"DANBOORU_MAKER": "old"}, "old"),
        ({"DANBOORU_MAKER": "old", "DANBOORU_PUBLISHER": "new"}, "new"),
        ({"DANBOORU_MAKER": "old", "DANBOORU_PUBLISHER": ""}, "old"),
    ],
)
def test_former_name_still_works(env: dict[str, str], publisher: str) -> None:
    """A variable is read under its former name when the new one is unset, and is not taken for a misspelt one."""
    assert Settings.from_env(LOOPBACK | env).publisher == publisher
    assert Settings.unknown(env) == []
    assert Settings.from_env(LOOPBACK | {"DANBOORU_LOOK_SECONDS": "5"}).poll_seconds == 5


def test_settings_are_immutable_values() -> None:
    """They are equal by value, cross a process border, and change only into a copy that keeps defaults as defaults."""
    settings = Settings(root=Path("x"), workers=3)
    assert pickle.loads(pickle.dumps(settings)) == settings == Settings(root=Path("x"), workers=3)
    with pytest.raises(ValidationError):
        settings.workers = 4
    assert settings.replace(workers=4) == Settings(root=Path("x"), workers=4)
    assert settings.replace(api_url="http://127.0.0.1:1", cdn_url="http://127.0.0.1:1").pace > 100
    with pytest.raises(ValidationError):
        Settings(wrokers=1)  # type: ignore[call-arg] # what is tested


def test_code_location_loads_with_wrong_settings() -> None:
    """What is decided at import takes the default in place of a value that is not valid, and the others as they are."""
    settings = Settings.from_env_with_defaults({"DANBOORU_FIRST_YEAR": "x", "DANBOORU_AUTOMATION": "on"})
    assert (settings.first_year, settings.automation) == (2021, True)


SECRETS = {
    "DANBOORU_LOGIN": "me",
    "DANBOORU_API_KEY": "hunter2",
    "DANBOORU_SMTP_URL": "smtp://me:hunter2@mail.example.org",
    "DANBOORU_WEBHOOK_URL": "https://example.org/hunter2",
}


def test_secrets_are_never_shown() -> None:
    """Neither the repr nor the list of settings holds a secret, nor a password in another address."""
    settings = Settings.from_env({**LOOPBACK, **SECRETS})
    assert settings.api_key == "hunter2"
    assert "hunter2" not in repr(settings)
    listed = settings_in_force({**LOOPBACK, **SECRETS, "DANBOORU_UI_URL": "https://me:hunter2@ui.example.org"})
    assert "hunter2" not in str([each.as_dict() for each in listed]) + str(settings_lines(listed))
    assert [each.name for each in listed if each.value == "***"] == [
        "DANBOORU_API_KEY", "DANBOORU_SMTP_URL", "DANBOORU_WEBHOOK_URL",
    ]  # fmt: skip


def in_force(env: dict[str, str]) -> dict[str, SettingInForce]:
    """The settings of an environment by their names."""
    return {each.name: each for each in settings_in_force(env)}


def test_list_says_where_each_setting_came_from() -> None:
    """Environment or default, the former name where that was read, and defaults that follow from other settings."""
    listed = in_force({"DANBOORU_MAKER": "Al", "DANBOORU_CONTACT": "me@x.org", "DANBOORU_EXCLUDE_TAGS": ""})
    assert list(listed) == [each.variable for each in DECLARED]
    publisher, pace = listed["DANBOORU_PUBLISHER"], listed["DANBOORU_REQUESTS_PER_SECOND"]
    assert (publisher.value, publisher.origin, publisher.read_from) == ("Al", Origin.ENVIRONMENT, "DANBOORU_MAKER")
    assert (pace.value, pace.origin, pace.read_from, pace.unit) == (8.0, Origin.DEFAULT, None, "requests/s")
    assert listed["DANBOORU_REMOVAL_CONTACT"].value == "me@x.org"
    assert listed["DANBOORU_TABLES_SOURCE"].value == "api"
    assert (listed["DANBOORU_EXCLUDE_TAGS"].value, listed["DANBOORU_EXCLUDE_TAGS"].text) == ([], "none")
    assert "DANBOORU_MAKER" in next(line for line in settings_lines(list(listed.values())) if "PUBLISHER" in line)


def test_misspelt_setting_is_noticed() -> None:
    """A variable that looks like a setting and is not one is named."""
    assert Settings.unknown({"DANBOORU_CONTCAT": "me", "DANBOORU_ROOT": "x", "HOME": "y"}) == ["DANBOORU_CONTCAT"]


def test_every_setting_says_what_it_is() -> None:
    """Each setting is declared with a meaning of one line, and with its unit where its name ends in one."""
    for each in DECLARED:
        assert each.meaning
        assert "\n" not in each.meaning
        for unit in ("seconds", "days", "bytes", "pixels"):
            assert each.unit == unit or not each.field.endswith(f"_{unit}")
