"""Which files of a dump or an archive are a table. What looks like one is read, or refused by its name.

A table is ``TABLE.json``, or shards ``TABLE000000000000.json`` without a gap, each plain or packed, in one folder and
in one of these forms. Posts of an archive may also be ``2021000000000000.json``, as until 2020, or
``000000000000.json``. The year of a file is that of its own folder, ``2021``, or ``2021-old`` with posts of 2021 in the
older dialect.

Whatever else begins like a table (``tags.jsonl``, ``POSTS.JSON``, ``posts000000000003.json.part``, a folder
``notes.json``, a broken link) was meant to be one, or is the half of one. A release without it would lack rows, or a
whole table, and say nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.release_paths import CARRIED_METADATA
from danbooru_pipeline.sources.tables import SIDE_TABLES

POSTS: Final = "posts"
#: What a file may have after its name, packed or not; only its first bytes decide how it is unpacked.
ENDINGS: Final = ("", ".gz", ".zst", ".xz", ".bz2")
_PACKED: Final = rf"(?:{'|'.join(map(re.escape, ENDINGS[1:]))})?"
_READ: Final = re.compile(rf"(?P<stem>[a-z][a-z_]*|\d{{4}}|)(?P<shard>\d{{12}}|)\.json{_PACKED}")
#: What is carried of an earlier year, tables that we do not know included.
_CARRIED: Final = re.compile(rf"(?P<plain>{CARRIED_METADATA}){_PACKED}")
#: After the name of a table: a number as exports and browsers write it (``-00000-of-00002``, `` (1)``), and any ending.
_REST: Final = r"(?:[-_ ]?\(?\d[^.]*)?(?:\..*)?"
#: Before it: the dot by which rsync hides a file that it has not finished.
_HIDDEN: Final = r"\.(?=.*\.json\.)"
#: How tools mark what they have not finished.
_UNFINISHED: Final = re.compile(
    r".*\.(?:part|partial|aria2|crdownload|download|tmp|temp|wget)|\..*", re.IGNORECASE | re.DOTALL
)
#: Checksums and signatures of a file, which nobody takes for the file.
_COMPANION: Final = re.compile(r".*\.(?:md5|sha\d+|md5sum|sha\d+sum|asc|sig|torrent)", re.IGNORECASE | re.DOTALL)
_YEAR: Final = re.compile(r"((?:19|20)\d\d)(?:-old)?")


def _like(tables: str, also: str = "") -> re.Pattern[str]:
    """What looks like these tables."""
    return re.compile(f"(?:{_HIDDEN})?(?:{tables}){_REST}{also}", re.IGNORECASE | re.DOTALL)


_ANY_TABLE: Final = _like("|".join((POSTS, *SIDE_TABLES)), r"|(?:\d{4})?\d{12}\.json.*")


@dataclass(frozen=True, slots=True)
class Found:
    """A name in a dump or an archive.

    Attributes:
        name: below it, with ``/`` between folders.
        trouble: why it cannot be read as a file, as in "is a folder"; empty for a file.
    """

    name: str
    trouble: str = ""

    @property
    def base(self) -> str:
        """The name without its folder."""
        return PurePosixPath(self.name).name

    @property
    def folder(self) -> PurePosixPath:
        """The folder that it is in."""
        return PurePosixPath(self.name).parent

    @property
    def year(self) -> int | None:
        """The year whose folder it is in; None where the folder is of no year."""
        match = _YEAR.fullmatch(self.folder.name)
        return int(match[1]) if match else None


def file_name(table: str, shard: int | None = None) -> str:
    """The name of a table's only file, or of one of its shards; packed, it has one of `ENDINGS` behind it."""
    return f"{table}.json" if shard is None else f"{table}{shard:012d}.json"


def is_of_a_year(folder: str) -> bool:
    """Whether a folder is that of a year, by its name."""
    return _YEAR.fullmatch(folder) is not None


def may_matter(base: str, *, is_folder: bool = False) -> bool:
    """Whether a name looks like a table, like metadata, or like the folder of a year that is no folder."""
    of_table = _ANY_TABLE.fullmatch(base) is not None or ".json" in base.lower()
    return of_table and "." in base if is_folder else of_table or is_of_a_year(base)


def require_years(found: Iterable[Found], year: int, place: str) -> None:
    """Refuse an archive where the folder of a year, up to this one, cannot be entered.

    Raises:
        SourceUnusable: there is one.
    """
    for each in found:
        if each.trouble and is_of_a_year(each.base) and int(each.base[:4]) <= year:
            raise SourceUnusable(f"{place} has {each.name}, which {each.trouble}; put the folder itself there")


def files_of(found: Iterable[Found], table: str, *, place: str, year: int | None = None) -> list[str]:
    """The names of a table's files, in order; none if there is nothing that looks like it.

    Args:
        found: all that may matter in a dump or an archive.
        table: its name.
        place: the dump or the archive, for error messages.
        year: of an archive; None for a dump.

    Raises:
        SourceUnusable: something looks like the table and would not be read, or the table is not whole.
    """
    looks = _names_of(table, year)
    mine = [each for each in found if each.year in (year, None) and _looks_like(each.base, looks)]
    # If posts are there in both dialects, those in the dialect of 2021 say more.
    mine = [each for each in mine if not each.base.startswith(str(year))] or mine
    if any(each.year is not None for each in mine):
        # Beside the year's own folder only what would be read, too, is in doubt, and not somebody's notes.txt.
        mine = [each for each in mine if each.year is not None or _is_read(each, table, year)]
    for each in mine:
        if not _is_read(each, table, year):
            raise SourceUnusable(f"{place} has {each.name}, which looks like a file of {table} and {_why(each, table)}")
    names = sorted(each.name for each in mine)
    _require_one_form(names, table, place)
    _require_each_shard_once(names, place)
    return names


def earlier_files_of(found: Iterable[Found], year: int, place: str) -> dict[str, str]:
    """What is carried of the years before `year`: ``2017/2017000000000000.json`` -> the name that it has here.

    Raises:
        SourceUnusable: something looks like a table and cannot be carried, or a year is there twice.
    """
    folders: dict[str, Found] = {}
    carried: dict[str, Found] = {}
    for each in sorted(found, key=lambda each: each.name):
        match = _CARRIED.fullmatch(each.base)
        if each.year is None or each.year >= year or not (match or _looks_like(each.base, _ANY_TABLE)):
            continue
        if match is None or each.trouble:
            what = f"looks like metadata of {each.folder.name} and {_why(each, 'TABLE')}"
            raise SourceUnusable(f"{place} has {each.name}, which {what}")
        first_of_folder = folders.setdefault(each.folder.name, each)
        if first_of_folder.folder != each.folder:
            raise _twice(place, first_of_folder.name, each.name)
        first = carried.setdefault(f"{each.folder.name}/{match['plain']}", each)
        if first is not each:
            raise _twice(place, first.name, each.name)
    return {name: each.name for name, each in carried.items()}


def _names_of(table: str, year: int | None) -> re.Pattern[str]:
    """What looks like a table, and for posts of an archive also like those until 2020."""
    also = rf"|(?:{year})?\d{{12}}\.json.*" if table == POSTS and year is not None else ""
    return _like(table, also)


def _looks_like(base: str, names: re.Pattern[str]) -> bool:
    return names.fullmatch(base) is not None and _COMPANION.fullmatch(base) is None


def _is_read(each: Found, table: str, year: int | None) -> bool:
    match = _READ.fullmatch(each.base)
    if match is None or each.trouble:
        return False
    is_older = table == POSTS and year is not None and match["shard"] and match["stem"] in {"", str(year)}
    return match["stem"] == table or bool(is_older)


def _why(each: Found, table: str) -> str:
    """Why something that looks like a table is not read, and what to do about it."""
    if each.trouble:
        return f"{each.trouble}; put the file itself there, or take it out of there"
    if _UNFINISHED.fullmatch(each.base):
        return "is what an unfinished download leaves; get the file again, or take it out of there"
    return (
        f"would be passed over; name it, or write it as, {file_name(table)} or {file_name(table, 0)} (JSON lines, "
        "plain or packed as .gz, .xz, .zst or .bz2), or take it out of there"
    )


def _twice(place: str, one: str, other: str) -> SourceUnusable:
    return SourceUnusable(f"{place} has {one} and {other}; remove all but the one that you mean")


def _require_one_form(names: Sequence[str], table: str, place: str) -> None:
    """Refuse a table that is in two folders, or there as one file and in shards."""
    forms: dict[tuple[str, ...], str] = {}
    for name in names:
        match = _READ.fullmatch(PurePosixPath(name).name)
        shape = (match["stem"], str(bool(match["shard"]))) if match else ()
        forms.setdefault((str(PurePosixPath(name).parent), *shape), name)
    if len(forms) > 1:
        one, other, *_ = forms.values()
        raise SourceUnusable(
            f"{place} has {table} twice, as {one} and as {other}; take all files of the one that you do not mean out "
            "of there"
        )


def _require_each_shard_once(names: Sequence[str], place: str) -> None:
    """Refuse shards whose numbers have a gap (000, 001, 003), and a file that is there twice, plain and packed."""
    kept: dict[str, str] = {}
    for name in names:
        other = kept.setdefault(PurePosixPath(name).name.partition(".")[0], name)
        if other != name:
            raise _twice(place, other, name)
    found = [(match, name) for name in names if (match := _READ.fullmatch(PurePosixPath(name).name)) and match["shard"]]
    numbers = {int(match["shard"]) for match, _ in found}
    lacking = sorted(set(range(max(numbers, default=-1) + 1)) - numbers)
    if lacking:
        match, name = found[0]
        first = PurePosixPath(name).with_name(f"{match['stem']}{lacking[0]:012d}.json")
        raise SourceUnusable(
            f"{place} lacks {len(lacking):,} of {max(numbers) + 1:,} files of a table, first of them {first}; get it "
            "again"
        )
