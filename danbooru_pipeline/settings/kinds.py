"""Kinds of settings: how text becomes a value, and what to say when it does not. No setting is named here.

A parser raises `ValueError` with the words that complete "set it to …". Values that have their type already, as
keywords of `Settings(…)` do, are left to pydantic.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator

POSTS_SOURCES: Final = ("api", "bigquery", "dump", "archive")
BACKGROUNDS: Final = ("contrast", "white", "black")
ARCHIVES: Final = ("off", "jxl")
#: A hundred years.
_MOST_DAYS: Final = 36_500


def is_loopback(url: str) -> bool:
    """Whether an address can only mean this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _from_text(parse: Callable[[str], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _number(
    kind: type[int] | type[float], *, above: float, most: int, least: float = -math.inf, wanted: str = ""
) -> BeforeValidator:
    """Finite numbers above a bound; `wanted` says it in other words than "a number above …".

    `least` and `most` bound what can be computed with: times that a clock knows, waits that a system call takes, and
    numbers of threads that a machine has room for.
    """
    wanted = wanted or f"a number above {above:g}"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(wanted if kind is float else _whole(text, wanted)) from None
        if not value > above or value == math.inf:
            raise ValueError(wanted)
        return _bounded(value, least=least, most=most)

    return _from_text(parse)


def _bounded(value: float, *, least: float, most: int) -> float:
    if value > most:
        raise ValueError(f"{most} at most")
    if value < least:
        raise ValueError(f"{least} at least")
    return value


def _whole(text: str, wanted: str) -> str:
    """What to say when an integer is wanted: "1.5" is a number already, so it is told what is wrong with it."""
    try:
        float(text)
    except ValueError:
        return wanted
    return wanted.replace("a number", "a whole number")


def _integer(low: int, high: int, *, wanted: str) -> BeforeValidator:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(wanted) from None
        if not low <= value <= high:
            raise ValueError(wanted)
        return value

    return _from_text(parse)


def _one_of(choices: tuple[str, ...]) -> BeforeValidator:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return _from_text(parse)


def _hours(text: str) -> float:
    wanted = "a number of hours, 0 or more"
    try:
        value = float(text)
    except ValueError:
        raise ValueError(wanted) from None
    if not 0 <= value < math.inf:
        raise ValueError(wanted)
    return _bounded(value, least=0, most=24 * _MOST_DAYS)


def _switch(text: str) -> bool:
    if text.lower() not in {"on", "off"}:
        raise ValueError("on or off")
    return text.lower() == "on"


def _tags(text: str) -> tuple[str, ...]:
    """Words; ``none`` and nothing at all both mean an empty list."""
    words = tuple(text.replace(",", " ").split())
    return () if words == ("none",) else words


def _reasons(text: str) -> dict[str, str]:
    """``name: reason`` for each of some names, between semicolons."""
    wanted = 'names with their reasons, like "tags: gone upstream since 2023; posts: the site removed a section"'
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, colon, reason = (piece.strip() for piece in part.partition(":"))
        if not re.fullmatch(r"[a-z_]+", name) or not colon or not reason or not text.isprintable():
            raise ValueError(wanted)
        found[name] = reason
    return found


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("one line of text")
    return text


def _address(text: str, schemes: set[str], wanted: str) -> SplitResult:
    """The parts of an address that some client can connect to."""
    try:
        url = urlsplit(text)
        host = url.hostname or ""
        _ = url.port  # raises when it is not a number
        if host and set(host) <= set("0123456789."):
            ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(wanted) from None
    if url.scheme not in schemes or not host or " " in host or not text.isprintable():
        raise ValueError(wanted)
    return url


def _site_url(text: str) -> str:
    url = _address(text, {"http", "https"}, "an address like https://danbooru.donmai.us")
    if url.username or url.password:
        raise ValueError("an address without a login in it; use DANBOORU_LOGIN and DANBOORU_API_KEY")
    if url.scheme == "http" and not is_loopback(text):
        raise ValueError("an https address (plain http is for loopback only)")
    return text.rstrip("/")


def _public_url(text: str) -> str:
    wanted = "the address of the folder of releases, like https://data.example.org/releases"
    url = _address(text, {"http", "https"}, wanted)
    if url.username or any(character in text for character in "\"'<>{} "):  # it goes into pages and shell commands
        raise ValueError(wanted)
    return text.rstrip("/")


def _mirrors(text: str) -> tuple[str, ...]:
    """Addresses of mirrors, separated by spaces or commas."""
    wanted = "addresses of the folders of releases, like https://mirror.example.org/releases or rsync://host/module"
    for word in _tags(text):
        if _address(word, {"http", "https", "rsync"}, wanted).username:
            raise ValueError(wanted)
    return tuple(word.rstrip("/") for word in _tags(text))


def _web_url(text: str) -> str:
    _address(text, {"http", "https"}, "an address like https://hooks.example.org/T0/B0")
    return text


def _smtp_url(text: str) -> str:
    _address(text, {"smtp", "smtps"}, "an address like smtp://user:password@mail.example.org:587")
    return text


def _store_address(text: str) -> str:
    """An address of any scheme, whose credentials are elsewhere."""
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^@\s]+", text):
        raise ValueError("an address like s3://bucket/releases, without a login in it")
    return text.rstrip("/")


def _hub_owner(text: str) -> str:
    """A name as the Hub allows it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,41}", text):
        raise ValueError("the name of a user or an organisation, like example-archive")
    return text


Folder = Annotated[Path, _from_text(Path)]
Line = Annotated[str, _from_text(_one_line)]
Reasons = Annotated[Mapping[str, str], _from_text(_reasons)]
Words = Annotated[tuple[str, ...], _from_text(_tags)]
Switch = Annotated[bool, _from_text(_switch)]
SiteUrl = Annotated[str, _from_text(_site_url)]
PublicUrl = Annotated[str, _from_text(_public_url)]
WebUrl = Annotated[str, _from_text(_web_url)]
SmtpUrl = Annotated[str, _from_text(_smtp_url)]
Count = Annotated[int, _number(int, above=0, most=10_000)]
Pixels = Annotated[int, _number(int, above=0, most=10**12)]
Bytes = Annotated[int, _number(int, above=-1, most=2**63 - 1, wanted="a number of bytes, 0 or more")]
StoreAddress = Annotated[str, _from_text(_store_address)]
HubOwner = Annotated[str, _from_text(_hub_owner)]
Mirrors = Annotated[tuple[str, ...], _from_text(_mirrors)]
Whole = Annotated[int, _number(int, above=-1, most=10**9, wanted="a whole number, 0 or more")]
WholeDays = Annotated[int, _number(int, above=-1, most=_MOST_DAYS, wanted="a whole number, 0 or more")]
#: From one request in a month.
Rate = Annotated[float, _number(float, above=0, least=4e-7, most=10**6)]
Seconds = Annotated[float, _number(float, above=0, most=10**9)]
#: Not "0 or more": values between -1 and 0 have always been accepted.
Days = Annotated[float, _number(float, above=-1, most=_MOST_DAYS)]
Hours = Annotated[float, _from_text(_hours)]
Year = Annotated[int, _number(int, above=2004, most=9000, wanted="a year from 2005, when the site began")]
PngLevel = Annotated[int, _integer(0, 6, wanted="a level from 0 to 6")]
JpegQuality = Annotated[int, _integer(1, 100, wanted="a JPEG quality from 1 to 100")]
PostsSource = Annotated[str, _one_of(POSTS_SOURCES)]
JpgArchive = Annotated[Literal["off", "jxl"], _one_of(ARCHIVES)]
Background = Annotated[Literal["contrast", "white", "black"], _one_of(BACKGROUNDS)]
