"""A torrent of the metadata archive, for people without rsync: one file, with the web address as its seed (BEP 3, 19).

BitTorrent did not work for millions of images (the original project gave it up), but it works well for one archive.
"""

import hashlib
from pathlib import Path
from typing import Any

from danbooru_pipeline.io.atomic import write_atomic

PIECE_BYTES = 2**20


def write_torrent(file: Path, *, url: str) -> Path:
    """Write ``FILE.torrent`` beside a file. The same file always gives the same bytes."""
    pieces = bytearray()
    with file.open("rb") as data:
        while piece := data.read(PIECE_BYTES):
            pieces += hashlib.sha1(piece, usedforsecurity=False).digest()
    info = {"length": file.stat().st_size, "name": file.name, "piece length": PIECE_BYTES, "pieces": bytes(pieces)}
    torrent = {"info": info} | ({"url-list": url + file.name} if url else {})
    target = file.with_name(f"{file.name}.torrent")
    write_atomic(target, bencode(torrent))
    return target


def bencode(value: Any) -> bytes:
    """Encode a value as BEP 3 says."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        return bencode(value.encode())
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
