"""Edits the boxes of an AVIF as Pillow writes it: one more property or reference of its primary item."""

import struct

Boxes = list[tuple[bytes, bytes]]


def _split(data: bytes) -> Boxes:
    """Name and content of the boxes."""
    boxes, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return boxes


def _join(boxes: Boxes) -> bytes:
    return b"".join(struct.pack(">I", len(body) + 8) + name + body for name, body in boxes)


def with_property(data: bytes, name: bytes, body: bytes) -> bytes:
    """One more essential property of item 1, before its others: transforms apply in that order."""
    meta = dict(_split(_meta(data)[4:]))
    iprp = dict(_split(meta[b"iprp"]))
    properties = [*_split(iprp[b"ipco"]), (name, body)]
    ipma = iprp[b"ipma"]
    assert ipma[:4] == bytes(4)
    assert ipma[8:10] == b"\0\1", "item 1 comes first"
    added = bytes([ipma[10] + 1, 0x80 | len(properties)]) + ipma[11 : 11 + ipma[10]]
    ipma = ipma[:10] + added + ipma[11 + ipma[10] :]
    return _with_meta(data, {b"iprp": _join([(b"ipco", _join(properties)), (b"ipma", ipma)])})


def with_reference(data: bytes, name: bytes, *, source: int, target: int) -> bytes:
    """One more reference between items."""
    meta = dict(_split(_meta(data)[4:]))
    added = _join([(name, struct.pack(">HHH", source, 1, target))])
    return _with_meta(data, {b"iref": meta.get(b"iref", bytes(4)) + added})


def without_nclx(data: bytes) -> bytes:
    """The same without the box that states its colour."""
    return data.replace(b"colrnclx", b"freenclx")


def with_iloc(data: bytes, version: int, base_size: int) -> bytes:
    """The same places of items in a table of another version, from a base of so many bytes (0 for none)."""
    old = dict(_split(_meta(data)[4:]))[b"iloc"]
    shift = len(_iloc(old, 0, version, base_size)) - len(old)
    meta = [
        (name, _iloc(body, shift, version, base_size) if name == b"iloc" else body)
        for name, body in _split(_meta(data)[4:])
    ]
    return _join([(name, bytes(4) + _join(meta) if name == b"meta" else body) for name, body in _split(data)])


def _iloc(old: bytes, shift: int, version: int, base_size: int) -> bytes:
    assert old[:6] == b"\0\0\0\0\x44\0", "as Pillow writes it"
    id_format = ">I" if version == 2 else ">H"
    count = int.from_bytes(old[6:8], "big")
    out = bytes([version, 0, 0, 0, 0x44, base_size << 4]) + struct.pack(id_format, count)
    for item, _, extents, start, length in struct.iter_unpack(">HHHII", old[8:]):
        assert extents == 1, "as Pillow writes it"
        base = start + shift if base_size else 0
        out += struct.pack(id_format, item) + bytes(4 if version else 2) + base.to_bytes(base_size, "big")
        out += struct.pack(">HII", 1, start + shift - base, length)
    return out


def _meta(data: bytes) -> bytes:
    return next(body for name, body in _split(data) if name == b"meta")


def _with_meta(data: bytes, changed: dict[bytes, bytes]) -> bytes:
    """Other boxes inside `meta`; what items refer to lies after it, and moves along."""
    old = _split(_meta(data)[4:])
    new = [(name, changed.get(name, body)) for name, body in old]
    new += [(name, body) for name, body in changed.items() if name not in dict(old)]
    shift = len(_join(new)) - len(_join(old))
    new = [(name, _moved(body, shift) if name == b"iloc" else body) for name, body in new]
    return _join([(name, bytes(4) + _join(new) if name == b"meta" else body) for name, body in _split(data)])


def _moved(iloc: bytes, shift: int) -> bytes:
    """The offsets of all items, further on."""
    assert iloc[:6] == b"\0\0\0\0\x44\0", "as Pillow writes it"
    out = bytearray(iloc)
    at = 8
    for _ in range(int.from_bytes(iloc[6:8], "big")):
        extents = int.from_bytes(iloc[at + 4 : at + 6], "big")
        at += 6
        for _ in range(extents):
            out[at : at + 4] = (int.from_bytes(iloc[at : at + 4], "big") + shift).to_bytes(4, "big")
            at += 8
    return bytes(out)
