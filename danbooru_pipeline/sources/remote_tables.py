"""Which files of a dump over HTTP are a table. An address cannot be listed, so each name that may be one is asked for.

These are the names of `table_names` that can be guessed: ``TABLE.json`` and the first shard, plain and packed, then the
shards that follow. What was found is judged by the rules of a folder.
"""

from collections.abc import Mapping
from typing import Final

import httpx

from danbooru_pipeline.errors import SourceUnusable, without_login
from danbooru_pipeline.fetch.remote_file import RemoteFile, asking, open_remote_file
from danbooru_pipeline.fetch.retry import RetryPolicy
from danbooru_pipeline.sources.table_names import ENDINGS, Found, file_name, files_of

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
        self._believes_head = False
        self._refuses: bool | None = None  # what is not there; unknown before the first refusal

    def files(self, table: str) -> list[RemoteFile]:
        """The files of a table, in order; none if there is no such table.

        Raises:
            SourceUnreachable: the server does not answer.
            SourceUnusable: it refuses the files, or they are not a whole table in one form.
        """
        with asking(self._place) as client:
            return self._found(table, client)

    def _found(self, table: str, client: httpx.Client) -> list[RemoteFile]:
        plain = self._open(client, file_name(table))
        found = {} if plain is None else {file_name(table): plain}
        found |= self._packed(client, file_name(table), has=plain is not None)
        first = self._first_shards(client, table, has=bool(found))
        if found and (first or len(found) > 1) and self._finds_whatever_it_is_asked_for(client):
            return [next(iter(found.values()))]
        shards = first if found else self._all_shards(client, table, first)
        names = files_of(map(Found, [*found, *shards]), table, place=without_login(self._place))
        return [(found | shards)[name] for name in names]

    def _packed(self, client: httpx.Client, name: str, *, has: bool) -> dict[str, RemoteFile]:
        files = {f"{name}{ending}": self._open(client, f"{name}{ending}", has=has) for ending in ENDINGS[1:]}
        return {name: file for name, file in files.items() if file is not None}

    def _first_shards(self, client: httpx.Client, table: str, *, has: bool) -> dict[str, RemoteFile]:
        name = file_name(table, 0)
        first = self._open(client, name, has=has)
        return ({} if first is None else {name: first}) | self._packed(client, name, has=has or first is not None)

    def _all_shards(self, client: httpx.Client, table: str, first: dict[str, RemoteFile]) -> dict[str, RemoteFile]:
        """The shards up to the first that is missing, and those behind it, which show that there is a gap."""
        found, more, number = dict(first), first, 0
        ending = next(iter(first), "").removeprefix(file_name(table, 0))
        while more and number < MAX_SHARDS:
            number += 1
            more = self._shard(client, table, number, ending)
            found |= more
        if number >= MAX_SHARDS:
            raise SourceUnusable(
                f"{without_login(self._place)} has more than {MAX_SHARDS:,} files of {table}; download the dump, and "
                "set DANBOORU_DUMP to its folder"
            )
        for behind in range(number + 1, number + 1 + LOOK_AHEAD):
            name = f"{file_name(table, behind)}{ending}"
            file = self._open(client, name, has=bool(found))
            found |= {} if file is None else {name: file}
        return found

    def _shard(self, client: httpx.Client, table: str, number: int, ending: str) -> dict[str, RemoteFile]:
        """One shard, which most likely ends as the first."""
        for each in (ending, *(other for other in ENDINGS if other != ending)):
            name = f"{file_name(table, number)}{each}"
            file = self._open(client, name, has=True)
            if file is not None:
                return {name: file}
        return {}

    def _finds_whatever_it_is_asked_for(self, client: httpx.Client) -> bool:
        """Whether a server answers each name with a page, so that what it has cannot be found out."""
        return self._open(client, _NO_SUCH, has=True) is not None

    def _open(self, client: httpx.Client, name: str, *, has: bool = False) -> RemoteFile | None:
        """A file, if it is there. A bucket that `has` files, and may not be listed, says 403 of those it has not."""
        try:
            file = self._ask(client, name)
        except SourceUnusable:
            if has and self._refuses_what_is_not_there(client):
                return None
            raise
        self._believes_head |= file is not None and file.told_by_head
        return file

    def _refuses_what_is_not_there(self, client: httpx.Client) -> bool:
        if self._refuses is None:
            try:
                self._ask(client, _NO_SUCH)
                self._refuses = False
            except SourceUnusable:
                self._refuses = True
        return self._refuses

    def _ask(self, client: httpx.Client, name: str) -> RemoteFile | None:
        return open_remote_file(
            f"{self._place}/{name}",
            headers=self._headers,
            policy=self._policy,
            believes_head=self._believes_head,
            client=client,
        )
