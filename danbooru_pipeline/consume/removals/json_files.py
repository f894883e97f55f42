"""JSON documents of an export, or of any tool, without some posts.

Rows go from a list (``[{…}]``), from a list or a map in an object (``{"posts": […]}``, COCO's images with their
annotations), and from a map by the names of images (kohya). What names a post in any other way stays, and is told:
nobody knows what the rest would mean without it.
"""

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from danbooru_pipeline.consume.removals.gone import ROW_KEYS, Gone, is_row, post_of_name
from danbooru_pipeline.consume.removals.json_pieces import LONGEST, Pieces, Write, encoding_of, walk
from danbooru_pipeline.consume.removals.lines import jsonl_without, line_of_row
from danbooru_pipeline.io.atomic import atomic_file

#: Names of lists and maps of rows about images.
_HOLDERS: Final = frozenset(
    "images posts annotations rows data items files entries records results samples metadata train test".split()  # noqa: SIM905 - one line
)
#: An object that has one of these is no row, whatever else it says.
_TABLES: Final = frozenset({"images", "posts", "annotations", "rows"})
#: Names of what has ids of its own that are not those of posts.
_OTHERS: Final = frozenset("categories licenses info tags pools users uploader artists classes labels favs".split())  # noqa: SIM905 - one line
#: Where a row is wrapped in another one.
_WRAPPED: Final = ("row", "post", "image", "data", "fields", "sample")
#: Names under which a bare number is the id of a post; the empty one is that of an outer list.
_LISTED: Final = frozenset(
    {"", "ids", "posts", "post_id", "post_ids", "image_id", "image_ids", "images", "data", "rows"}
)
_INDEX: Final = re.compile(r"[0-9]+|[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class JsonFound:
    """What a file has of some posts.

    Attributes:
        rows: that can be left out.
        left: members that name one of them in a way that is not known.
        is_row: whether all of the file is one row about one of them.
    """

    rows: int = 0
    left: int = 0
    is_row: bool = False


def look_into_json(path: Path, gone: Gone) -> JsonFound:
    """What a file of JSON, or of JSON lines, has of some posts.

    Raises:
        ValueError: it may name one of them, and is not JSON.
    """
    encoding = encoding_of(path)
    if encoding.startswith("utf-8") and not _may_name(path, gone):
        return JsonFound()
    if is_lines(path):
        with path.open("rb") as lines:
            left = sum(_is_left(line, gone) for line in lines)
        return JsonFound(jsonl_without(path, gone, None), left)
    survey = _surveyed(path, gone)
    if survey.is_row:
        return JsonFound(1, 0, is_row=True)
    judge = _Judge(gone, survey)
    _walk(path, judge, lambda _text: None)
    return JsonFound(judge.rows, judge.left)


def json_without(path: Path, gone: Gone, target: Path | None) -> int:
    """A document, or JSON lines, without the rows of these posts; a file that is one such row goes as a whole."""
    found = look_into_json(path, gone)
    if target is None or not found.rows:
        return found.rows
    if is_lines(path):
        return jsonl_without(path, gone, target)
    if found.is_row:
        target.unlink()
        return found.rows
    with atomic_file(target) as file:
        out = io.TextIOWrapper(file, encoding=encoding_of(path), errors="surrogateescape", newline="")
        _walk(path, _Judge(gone, _surveyed(path, gone)), out.write)
        out.flush()
        out.detach()
    return found.rows


def is_lines(path: Path) -> bool:
    """Whether a file is JSON lines: by its name, or since its first line is a whole value and it goes on after it."""
    if path.suffix.lower() == ".jsonl":
        return True
    with path.open("rb") as file:
        lines = (line for line in iter(lambda: file.readline(LONGEST), b"") if line.strip())
        first = next(lines, b"")
        try:
            line_of_row(first)
        except (ValueError, RecursionError):
            return False
        return next(lines, None) is not None


def _may_name(path: Path, gone: Gone) -> bool:
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            if gone.may_be_named(tail + chunk):
                return True
            tail = chunk[-64:]
    return False


def _is_left(line: bytes, gone: Gone) -> bool:
    """Whether a line that stays names a post all the same."""
    if not gone.may_be_named(line):
        return False
    try:
        row = line_of_row(line)
    except (ValueError, RecursionError):
        return True
    return not (isinstance(row, dict) and gone.of_row(row)) and _names(row, "", gone)


def _walk(path: Path, visitor: "_Survey | _Judge", write: Write) -> None:
    with path.open(encoding=encoding_of(path), errors="surrogateescape", newline="") as file:
        walk(Pieces(file), visitor, write, maps=_HOLDERS)


def _surveyed(path: Path, gone: Gone) -> "_Survey":
    survey = _Survey(gone)
    _walk(path, survey, lambda _text: None)
    return survey


@dataclass(slots=True)
class _Survey:
    """What must be known of a whole document before anything of it is left out.

    Attributes:
        outer: what the outer object says as a row does.
        holders: names of those that are.
        images: COCO's ids of images that are gone, as text.
        kept: those of others that look like the id of a post that is gone.
    """

    gone: Gone
    outer: dict[str, Any] = field(default_factory=dict)
    holders: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    is_coco: bool = False

    def drops_name(self, _name: str) -> bool:
        return False

    def drops(self, holder: str, name: str | None, value: Any) -> bool:
        if holder:
            self.holders.add(holder)
        elif name in ROW_KEYS and not isinstance(value, dict | list):
            self.outer[str(name)] = value
        if holder == "images" and isinstance(value, dict) and value.keys() >= {"id", "file_name"}:
            number, self.is_coco = str(value["id"]), True
            if _is_gone_image(value, self.gone):
                self.images.add(number)
            elif self.gone.of_row({"id": value["id"]}):
                self.kept.add(number)
        return False

    @property
    def is_row(self) -> bool:
        return self.gone.of_row(self.outer) and not self.holders & _TABLES


def _is_gone_image(row: dict[str, Any], gone: Gone) -> bool:
    """Whether a row of COCO is about a post that is gone: its file says, since its id may be a running number."""
    name = row.get("file_name")
    if isinstance(name, str) and post_of_name(name) is not None:
        return gone.of_name(name)
    return gone.of_row(row)


@dataclass(slots=True)
class _Judge:
    """Leaves the rows of some posts out, and counts what else names one."""

    gone: Gone
    survey: _Survey
    rows: int = 0
    left: int = 0

    def drops_name(self, name: str) -> bool:
        is_gone = self.gone.of_name(name) or self.gone.of_name(f"{name}.jpg")
        self.rows += is_gone
        return is_gone

    def drops(self, holder: str, name: str | None, value: Any) -> bool:
        if self._is_about(holder, name, value):
            self.rows += 1
            return True
        if self.survey.is_coco and holder in {"images", "annotations"}:
            number = str(value.get("image_id")) if isinstance(value, dict) else ""
            is_left = self.gone.of_row({"id": number}) and number not in self.survey.kept
        else:
            is_left = self._names_apart(holder, name, value)
        self.left += is_left
        return False

    def _is_about(self, holder: str, name: str | None, value: Any) -> bool:
        gone = self.gone
        if not isinstance(value, dict):
            return False
        if self.survey.is_coco and holder == "images":
            return _is_gone_image(value, gone)
        if self.survey.is_coco and holder == "annotations":
            return str(value.get("image_id")) in self.survey.images
        by_id = holder in _HOLDERS or (not holder and (name is None or _INDEX.fullmatch(name) is not None))
        rows = [value, *(inner for key in _WRAPPED if isinstance(inner := value.get(key), dict))]
        return any(gone.of_row(row if by_id else {**row, "id": None}) for row in rows)

    def _names_apart(self, holder: str, name: str | None, value: Any) -> bool:
        if name is not None and not holder and name == "id":
            return self.gone.of_row({name: value})
        return _names(value, name or holder, self.gone, in_row=not holder and name is not None and self._is_other_row)

    @property
    def _is_other_row(self) -> bool:
        return is_row(self.survey.outer) and not self.survey.holders & _TABLES


def _names(value: Any, key: str, gone: Gone, *, in_row: bool = False) -> bool:
    """Whether a value that stays names a post that is gone. Ids in a row of another post are those of other things."""
    if isinstance(value, dict):
        by_id = key not in _OTHERS and (not in_row or key in _HOLDERS or key in _WRAPPED)
        if gone.of_row(value if by_id else {**value, "id": None}):
            return True
        inside = in_row or is_row(value)
        return any(gone.of_name(name) or _names(inner, name, gone, in_row=inside) for name, inner in value.items())
    if isinstance(value, list):
        return any(_names(inner, key, gone, in_row=in_row) for inner in value)
    return (isinstance(value, str) and gone.of_name(value)) or (key in _LISTED and gone.of_row({"id": value}))
