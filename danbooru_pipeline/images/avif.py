"""The boxes of an AVIF: where it ends, its frames, and what is said of its primary item. Never raises on any bytes.

Only the primary item is the picture. Embedded thumbnails, the tiles of a grid and further items are none of its frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from danbooru_pipeline.images.av1 import read_av1_color

_MAX_BOXES = 1000  # real files have three to five at the top level
_MAX_EXTENTS = 65_536
_MAX_HEAD_BYTES = 1024
_MAX_PROPERTIES = 255
#: What may stand at the top level; anything else is not part of the picture.
_TOP = frozenset(
    {b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"wide", b"uuid", b"moof", b"mfra", b"idat", b"styp"}
    | {b"sidx", b"pdin", b"emsg", b"prft", b"ssix", b"mini", b"grpl", b"udta"}
)


#: Properties that turn, mirror or crop an item.
_TRANSFORMS = frozenset({b"irot", b"imir", b"clap"})
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0")


class _Extent(NamedTuple):
    """A part of an item: whether its offsets are those of the file, rather than of `idat` or of another item."""

    item: int
    in_file: bool
    start: int
    end: int


class Box(NamedTuple):
    """One box; `start` and `end` are the offsets of its content, `end` possibly after the end of the file."""

    name: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AvifWalk:
    """What the boxes say.

    Attributes:
        frames: samples of an image sequence; None for a still picture.
        end: offset after the last box; None if the file ends inside a box, or before data that it refers to.
        width: of the primary item; 0 if unknown.
        height: likewise.
        nclx: colour primaries and transfer characteristics by ITU-T H.273, of the container or else of the coded
            picture; None if neither states them.
        full_range: whether values use all codes.
        monochrome: whether there is no colour.
        premultiplied: whether its colours are multiplied by its alpha already.
    """

    frames: int | None
    end: int | None
    width: int = 0
    height: int = 0
    nclx: tuple[int, int] | None = None
    full_range: bool = True
    monochrome: bool = False
    premultiplied: bool = False


def walk_avif(data: bytes) -> AvifWalk:
    """Walk the boxes."""
    top, end = _top(data)
    frames = next((_frames(data, box) for box in top if box.name == b"moov"), None)
    meta = next((box for box in top if box.name == b"meta"), None)
    if meta is None:
        return AvifWalk(frames, end)
    inner = {box.name: box for box in _boxes(data, meta.start + 4, min(meta.end, len(data)))}
    if end is not None and any(extent.in_file and extent.end > len(data) for extent in _extents(data, inner)):
        end = None
    primary = _primary(data, inner)
    properties = _properties(data, inner)
    own = [properties[n - 1] for n in _associated(data, inner, primary) if 0 < n <= len(properties)]
    width, height, nclx, full_range = 0, 0, None, None
    for box in own:
        if box.name == b"ispe":
            width, height = _int(data, box.start + 4, 4), _int(data, box.start + 8, 4)
        elif box.name == b"colr" and data[box.start : box.start + 4] == b"nclx":
            nclx = (_int(data, box.start + 4, 2), _int(data, box.start + 6, 2))
            full_range = bool(_int(data, box.start + 10, 1) & 0x80)
    if nclx is None:  # then what the coded picture says counts; a grid says what its tiles do
        tile = next(iter(_references(data, inner, b"dimg", primary)), primary)
        coded = read_av1_color(data[_first_byte(data, inner, tile) :][:_MAX_HEAD_BYTES])
        if coded is not None:
            nclx, full_range = (coded.primaries, coded.transfer), coded.full_range
    return AvifWalk(
        frames,
        end,
        width,
        height,
        nclx,
        full_range is not False,
        monochrome=_is_monochrome(data, own, properties),
        premultiplied=bool(_references(data, inner, b"prem", primary)),
    )


def _int(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """The boxes from `at` to `end`."""
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        size, head = _int(data, at, 4), 8
        if size == 1:  # a 64-bit size follows
            size, head = _int(data, at + 8, 8), 16
        elif size == 0:  # the box runs to the end
            size = end - at
        if size < head:
            return
        yield Box(data[at + 4 : at + 8], at + head, at + size)
        at += size


def _top(data: bytes) -> tuple[list[Box], int | None]:
    """The boxes at the top level, and the offset after the last; None if the file ends inside it."""
    found: list[Box] = []
    end = 0
    for box in _boxes(data, 0, len(data)):
        if box.name not in _TOP or (found and box.name == b"ftyp"):  # a second one begins another file
            break
        if box.end > len(data):
            return found, None
        found.append(box)
        end = box.end
    return found, end


def _find(data: bytes, box: Box, path: tuple[bytes, ...]) -> list[Box]:
    """All boxes at that path inside a box."""
    if not path:
        return [box]
    return [
        found
        for child in _boxes(data, box.start, min(box.end, len(data)))
        if child.name == path[0]
        for found in _find(data, child, path[1:])
    ]


def _frames(data: bytes, moov: Box) -> int | None:
    """Samples of the longest track of pictures; alpha and thumbnails have tracks of their own."""
    counts = []
    for track in _find(data, moov, (b"trak", b"mdia")):
        handlers = {data[box.start + 8 : box.start + 12] for box in _find(data, track, (b"hdlr",))}
        if handlers & {b"pict", b"vide"}:
            counts += [_int(data, box.start + 8, 4) for box in _find(data, track, (b"minf", b"stbl", b"stsz"))]
    return max(counts, default=None)


def _primary(data: bytes, inner: dict[bytes, Box]) -> int:
    """Number of the primary item; 1 if it is not said."""
    box = inner.get(b"pitm")
    if box is None:
        return 1
    return _int(data, box.start + 4, 2 if data[box.start : box.start + 1] == b"\0" else 4)


def _properties(data: bytes, inner: dict[bytes, Box]) -> list[Box]:
    """All properties of all items, in order."""
    iprp = inner.get(b"iprp")
    found = [] if iprp is None else _find(data, iprp, (b"ipco",))
    return [] if not found else list(_boxes(data, found[0].start, min(found[0].end, len(data))))


def _associated(data: bytes, inner: dict[bytes, Box], item: int) -> list[int]:
    """Numbers, from 1, of the properties that an item has."""
    found = _association(data, inner, item)
    if found is None:
        return []
    at, count, size = found
    return [_int(data, at + size * n, size) & (0x7FFF if size == 2 else 0x7F) for n in range(count)]


def _association(data: bytes, inner: dict[bytes, Box], item: int) -> tuple[int, int, int] | None:
    """Where the list of an item's properties begins, how many there are, and how many bytes each number has."""
    iprp = inner.get(b"iprp")
    for box in [] if iprp is None else _find(data, iprp, (b"ipma",)):
        id_bytes = 2 if data[box.start : box.start + 1] == b"\0" else 4
        size = 1 + (_int(data, box.start + 3, 1) & 1)
        at = box.start + 8
        for _ in range(min(_int(data, box.start + 4, 4), _MAX_EXTENTS)):
            found, count = _int(data, at, id_bytes), _int(data, at + id_bytes, 1)
            at += id_bytes + 1
            if found == item:
                return at, count, size
            at += count * size
            if at >= box.end:
                break
    return None


def with_turned_alpha(data: bytes) -> bytes:
    """The file, or a copy whose alpha has the transforms of its picture.

    libavif left them out until 2025 and takes them for granted, as browsers do; libheif turns the colours alone. The
    copy has its `meta` box at the end, so that nothing that items refer to moves.
    """
    top, end = _top(data)
    meta = next((box for box in top if box.name == b"meta"), None)
    if meta is None or end is None:
        return data
    inner = {box.name: box for box in _boxes(data, meta.start + 4, meta.end)}
    primary = _primary(data, inner)
    properties = _properties(data, inner)
    wanted = [n for n in _associated(data, inner, primary) if _name(properties, n) in _TRANSFORMS]
    alpha = _alpha_of(data, inner, primary, properties) if wanted else None
    found = None if alpha is None else _association(data, inner, alpha)
    if alpha is None or found is None:
        return data
    at, count, size = found
    outer = [
        meta,
        inner[b"iprp"],
        *(box for box in _find(data, inner[b"iprp"], (b"ipma",)) if box.start < at <= box.end),
    ]
    if count + len(wanted) > _MAX_PROPERTIES or not all(_is_plain(data, box) for box in (*outer, top[-1])):
        return data
    if any(_name(properties, n) in _TRANSFORMS for n in _associated(data, inner, alpha)):
        return data
    added = b"".join((n | 1 << 8 * size - 1).to_bytes(size, "big") for n in wanted)
    last = at + count * size
    made = bytearray(data[meta.start - 8 : last] + added + data[last : meta.end])
    shift = meta.start - 8
    for box in outer:
        made[box.start - 8 - shift : box.start - 4 - shift] = (box.end - box.start + 8 + len(added)).to_bytes(4, "big")
    made[at - 1 - shift] = count + len(wanted)
    return data[: meta.start - 4] + b"free" + data[meta.start : end] + bytes(made)


def _is_plain(data: bytes, box: Box) -> bool:
    """Whether a box states its size in 32 bits, and is whole."""
    return _int(data, box.start - 8, 4) == box.end - box.start + 8 and box.end <= len(data)


def _name(properties: list[Box], number: int) -> bytes:
    """Name of a property by its number, from 1."""
    return properties[number - 1].name if 0 < number <= len(properties) else b""


def _alpha_of(data: bytes, inner: dict[bytes, Box], item: int, properties: list[Box]) -> int | None:
    """Number of the item that is the alpha of an item."""
    box = inner.get(b"iref")
    if box is None:
        return None
    size = 2 if data[box.start : box.start + 1] == b"\0" else 4
    for found in _boxes(data, box.start + 4, min(box.end, len(data))):
        source = _int(data, found.start, size)
        if found.name != b"auxl" or item not in _references(data, inner, b"auxl", source):
            continue
        own = [properties[n - 1] for n in _associated(data, inner, source) if 0 < n <= len(properties)]
        if any(p.name == b"auxC" and data[p.start + 4 : p.end].startswith(_ALPHA) for p in own):
            return source
    return None


def _is_monochrome(data: bytes, own: list[Box], properties: list[Box]) -> bool:
    """Whether the item says that it has one channel, or the coded picture does; a grid has that of its tiles."""
    for box in own:
        if box.name == b"pixi":
            return _int(data, box.start + 4, 1) == 1
    coded = [box for box in own if box.name == b"av1C"] or [box for box in properties if box.name == b"av1C"]
    return bool(coded) and bool(_int(data, coded[0].start + 2, 1) & 0x10)


def _references(data: bytes, inner: dict[bytes, Box], name: bytes, item: int) -> list[int]:
    """Numbers of the items that a reference of this kind leads to from an item."""
    box = inner.get(b"iref")
    if box is None:
        return []
    size = 2 if data[box.start : box.start + 1] == b"\0" else 4
    for found in _boxes(data, box.start + 4, min(box.end, len(data))):
        if found.name == name and _int(data, found.start, size) == item:
            first = found.start + size + 2
            return [_int(data, first + size * n, size) for n in range(_int(data, first - 2, 2))]
    return []


def _first_byte(data: bytes, inner: dict[bytes, Box], item: int) -> int:
    """Offset of an item in the file; the end of the file if it has none."""
    return next(
        (extent.start for extent in _extents(data, inner) if (extent.item, extent.in_file) == (item, True)), len(data)
    )


def _extents(data: bytes, inner: dict[bytes, Box]) -> Iterator[_Extent]:
    """The parts of all items."""
    box = inner.get(b"iloc")
    if box is None:
        return
    version = _int(data, box.start, 1)
    sizes = _int(data, box.start + 4, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    id_size = 4 if version >= 2 else 2
    count, at = _int(data, box.start + 6, id_size), box.start + 6 + id_size
    end, left = min(box.end, len(data)), _MAX_EXTENTS
    for _ in range(min(count, _MAX_EXTENTS)):
        item, method = _int(data, at, id_size), _int(data, at + id_size, 2) & 15 if version else 0
        at += id_size + (4 if version else 2)
        base = _int(data, at, base_size)
        extents = _int(data, at + base_size, 2)
        at += base_size + 2
        for _ in range(min(extents, left)):
            start = base + _int(data, at + index_size, offset_size)
            length = _int(data, at + index_size + offset_size, length_size)
            at += index_size + offset_size + length_size
            yield _Extent(item, method == 0, start, start + length)
        left -= min(extents, left)
        if at >= end or left <= 0:
            break
