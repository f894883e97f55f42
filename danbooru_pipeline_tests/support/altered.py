"""The embedded booru behind a site that writes its records otherwise."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx
import msgspec

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline_tests.support.imported import AGENT
from danbooru_pipeline_tests.support.raw_server import RawServer, make_answer, serving
from danbooru_pipeline_tests.support.sites import Record

#: A record of the site as another site would write it; none where it does not show it.
Alter = Callable[[Record], Record | None]


#: In place of a path: questions about posts by their ids.
BY_IDS = "/posts.json?tags=id"
#: Path -> the answer that a site gives in place of the booru's: a status and a body.
Instead = Mapping[str, tuple[int, bytes]]
#: Makes headers of an answer by what was asked for.
Headers = Callable[[str], Mapping[str, str]]


@contextmanager
def altered(
    booru: BooruProcess,
    alter: Alter = lambda record: record,
    *,
    instead: Instead = MappingProxyType({}),
    headers: Headers = lambda _target: {},
) -> Iterator[str]:
    """The address of a site that gives the booru's posts with other records, and everything else as it is.

    Args:
        booru: has the posts.
        alter: makes the records.
        instead: other answers; looked at with each request.
        headers: of the answers; without them none has a date.
    """
    with httpx.Client(headers=AGENT) as client:

        def answer(_server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
            path, _, query = target.partition("?")
            if (other := instead.get(BY_IDS if "tags=id" in query else path)) is not None:
                connection.sendall(make_answer(other[1], status=other[0], headers=headers(target)))
                return
            got = client.get(booru.api_url + target)
            body = got.content
            if urlsplit(target).path == "/posts.json" and got.status_code == 200:
                body = msgspec.json.encode([new for record in got.json() if (new := alter(record)) is not None])
            connection.sendall(make_answer(body, status=got.status_code, headers=headers(target)))

        with serving(answer) as server:
            yield server.url


def upper(record: Record) -> Record:
    """MD5s in upper case."""
    return {**record, "md5": record["md5"].upper()} if record.get("md5") else record


def as_bytes(record: Record) -> Record:
    """MD5s as Postgres writes bytes, with a space."""
    return {**record, "md5": f" \\x{record['md5']}"} if record.get("md5") else record


def dotted(record: Record) -> Record:
    """Extensions with their dot and in capitals."""
    return {**record, "file_ext": f".{record['file_ext'].upper()}"} if record.get("file_ext") else record


def in_address_alone(record: Record) -> Record:
    """MD5 and extension of every second post are in its address, and nowhere else but in its nested media."""
    if record["id"] % 2 or not record.get("file_url"):
        return record
    media = {"media_asset": {"md5": record["md5"], "file_ext": record["file_ext"]}}
    return {name: value for name, value in record.items() if name not in {"md5", "file_ext"}} | media


def silent(record: Record) -> Record:
    """Every second post does not say whether it is banned."""
    return record if record["id"] % 2 else mute(record)


def mute(record: Record) -> Record:
    """No post says whether it is banned."""
    return {name: value for name, value in record.items() if name != "is_banned"}
