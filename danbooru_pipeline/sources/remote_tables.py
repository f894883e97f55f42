"""Which files of a dump over HTTP are a table. An address cannot be listed, so each name that may be one is asked for.

``TABLE.json`` is the table where it is there: a server may keep packed copies beside it, which nobody could take away.
Only the first shard is asked for then, since a table in two forms is in doubt. Otherwise the names of `table_names`
that can be guessed are asked for: packed endings and shards. What was found is judged by the rules of a folder.

A server that does not say 404 of what it has not says of a name that nobody has what it says then: 403, 500, a page.
That is believed while it still gives a file that it has; otherwise it is an outage, or a refusal of all.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from danbooru_pipeline.errors import SourceError, SourceUnreachable, SourceUnusable, without_login
from danbooru_pipeline.fetch.remote_file import RemoteFile, Told, ask_for, asking
from danbooru_pipeline.fetch.retry import RetryPolicy
from danbooru_pipeline.sources.table_names import ENDINGS, POSTS, Found, file_name, files_of
from danbooru_pipeline.sources.tables import SIDE_TABLES

#: So many numbers behind the first shard that is missing are asked for, since a gap is no end.
LOOK_AHEAD: Final = 2
#: A server that has more shards than this finds whatever it is asked for.
MAX_SHARDS: Final = 100_000
#: A name that no dump has: what a server says of it, it says of all that is not there.
_NO_SUCH: Final = file_name("no-such-table")


class RemoteTables:
    """The tables below an address.

    Args:
        place: the address.
        headers: of each request.
        policy: for how long each file is asked for.
    """

    def __init__(self, place: str, *, headers: Mapping[str, str], policy: RetryPolicy) -> None:
        self._place, self._headers, self._policy = place, headers, policy
        self._server = _Server()

    def files(self, table: str) -> list[RemoteFile]:
        """The files of a table, in order; none if there is no such table.

        Raises:
            SourceUnreachable: the server does not answer.
            SourceUnusable: it refuses the files, or they are not a whole table in one form.
        """
        with asking(self._place) as client:
            names = _Names(self._server, partial(self._ask, client))
            found = self._found(names, table)
            names.require_that_it_still_answers()
        return [found[name] for name in files_of(map(Found, found), table, place=without_login(self._place))]

    def first_file(self, table: str) -> RemoteFile | None:
        """The first file that is there of a table, whole or not: the least that shows that there is one, and how old.

        Raises:
            SourceError: as for `files`.
        """
        with asking(self._place) as client:
            names = _Names(self._server, partial(self._ask, client))
            whole, first = file_name(table), file_name(table, 0)
            each = (names.those_of(name) for name in (whole, first, *_packed(whole), *_packed(first)))
            file = next((file for found in each for file in found.values()), None)
            names.require_that_it_still_answers()
            return file

    def _ask(self, client: httpx.Client, name: str, *, looks: bool = False) -> Told:
        url = f"{self._place}/{name}"
        return ask_for(url, headers=self._headers, policy=self._policy, client=client, looks=looks)

    def _found(self, names: "_Names", table: str) -> dict[str, RemoteFile]:
        whole, first = file_name(table), file_name(table, 0)
        found = names.those_of(whole, first)
        if len(found) == 2 and names.finds_whatever_it_is_asked_for():
            found = names.those_of(whole, first)
        if whole in found:
            return found
        found = names.those_of(*_packed(whole)) | (found or names.those_of(*_packed(first)))
        return found if any(name.startswith(whole) for name in found) else self._all_shards(names, table, found)

    def _all_shards(self, names: "_Names", table: str, first: dict[str, RemoteFile]) -> dict[str, RemoteFile]:
        """The shards up to the first that is missing, and those behind it, which show that there is a gap."""
        found, more, number = dict(first), first, 0
        ending = next(iter(first), "").removeprefix(file_name(table, 0))
        while more and number < MAX_SHARDS:
            number += 1
            more = _shard(names, table, number, ending)
            found |= more
        if number >= MAX_SHARDS:
            raise SourceUnusable(
                f"{without_login(self._place)} has more than {MAX_SHARDS:,} files of {table}; download the dump, and "
                "set DANBOORU_DUMP to its folder"
            )
        behind = range(number + 1, number + 1 + LOOK_AHEAD)
        return found | names.those_of(*(f"{file_name(table, each)}{ending}" for each in behind))


def _packed(name: str) -> list[str]:
    return [f"{name}{ending}" for ending in ENDINGS[1:]]


def _shard(names: "_Names", table: str, number: int, ending: str) -> dict[str, RemoteFile]:
    """One shard, which most likely ends as the first."""
    name = file_name(table, number)
    for each in (ending, *(other for other in ENDINGS if other != ending)):
        if found := names.those_of(f"{name}{each}"):
            return found
    return {}


@dataclass(slots=True)
class _Server:
    """What is remembered of a server.

    Attributes:
        nobody: what it says of a name that nobody has, once it was asked.
        finds_all: whether HEAD finds such a name, so that each file that is found is looked at.
        has: the last name that it had.
    """

    nobody: Told | None = None
    finds_all: bool = False
    has: str = ""


class _Names:
    """Which names a server has, as far as one table needs it.

    Args:
        server: what is remembered of it.
        ask: asks it for a name.
    """

    def __init__(self, server: _Server, ask: Callable[..., Told]) -> None:
        self._server, self._ask = server, ask
        self._doubt: SourceError | None = None  # why the first name would be refused that was taken as not there

    def those_of(self, *names: str) -> dict[str, RemoteFile]:
        """Those of some names that are there.

        Raises:
            SourceError: the server refuses one, and not as it refuses what it has not.
        """
        files = {name: self._file(name) for name in names}
        return {name: file for name, file in files.items() if file is not None}

    def finds_whatever_it_is_asked_for(self) -> bool:
        """Whether a name that nobody has is found, too, so that finding one proves nothing."""
        self._said_of_nobody()
        return self._server.finds_all

    def require_that_it_still_answers(self) -> None:
        """Refuse what was taken as not there, though not by a 404, where the server gives nothing else either.

        Raises:
            SourceError: it does not: it is down, or refuses all.
        """
        doubt, self._doubt = self._doubt, None
        if isinstance(doubt, SourceUnreachable):  # what was said before may have been an outage, and over since
            self._server.nobody = None
            if not isinstance(self._said_of_nobody().problem, SourceUnreachable):
                raise doubt
        if doubt is None or (self._server.has and self._is_there(self._server.has)):
            return
        tables = (POSTS, *SIDE_TABLES)
        candidates = (file_name(table, shard) for shard in (None, 0) for table in tables)
        if isinstance(doubt, SourceUnreachable) or not any(map(self._is_there, candidates)):
            raise doubt

    def _is_there(self, name: str) -> bool:
        with suppress(SourceError):
            return self._file(name) is not None
        return False

    def _file(self, name: str) -> RemoteFile | None:
        told, looks = self._ask(name), False
        doubts = self._server.finds_all or (told.is_html and self.finds_whatever_it_is_asked_for())
        if told.file is not None and doubts:
            told, looks = self._ask(name, looks=True), True
        if told.is_absent:
            return None
        if (told.file is None or looks) and told.is_like(self._said_of_nobody()):
            self._doubt = self._doubt or told.problem
            return None
        if told.file is None:
            raise told.problem
        self._server.has = name
        return told.file

    def _said_of_nobody(self) -> Told:
        if self._server.nobody is None:
            told = self._ask(_NO_SUCH)
            finds_all = told.file is not None
            told = self._ask(_NO_SUCH, looks=True) if finds_all else told
            if told.status is None:
                return told
            self._server.nobody, self._server.finds_all = told, finds_all
        return self._server.nobody
