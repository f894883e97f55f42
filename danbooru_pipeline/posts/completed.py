"""What a row lacks and says elsewhere, a whole table at once: MD5 and extension are in the address of the file.

A source whose export dropped a column from some of its rows does not hide those posts, nor are they damaged. And where
some rows say whether they are banned, one that does not say is not free: it is marked, so that no file is taken.
"""

from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.posts.json_text import one_chunk

_BANNED: Final = "is_banned"
#: The end of the address of an original.
_ADDRESS: Final = r"(?P<md5>[0-9a-fA-F]{32})\.(?P<ext>[0-9A-Za-z]{2,5})(?:[?#].*)?$"
_ANY_CASE: Final = "^[0-9a-fA-F]{32}$"


def completed(table: pa.Table, *, says_banned: bool) -> pa.Table:
    """Posts with MD5 and extension as the site writes them, from their address where a row lacks them.

    Args:
        table: of `POST_SCHEMA`.
        says_banned: whether any row of the source says if its post is banned.
    """
    if not table.num_rows:
        return table
    extra = one_chunk(table["extra"])
    md5, ext = one_chunk(table["md5"]), one_chunk(table["file_ext"])
    new = {
        "md5": pc.if_else(pc.match_substring_regex(md5, _ANY_CASE), pc.utf8_lower(md5), md5),
        "file_ext": pc.utf8_lower(pc.utf8_ltrim(ext, ".")),
    }
    if new["md5"].null_count or new["file_ext"].null_count:
        named = pc.extract_regex(one_chunk(table["file_url"]), _ADDRESS)
        for name, part in (("md5", "md5"), ("file_ext", "ext")):
            found = pc.utf8_lower(pc.struct_field(named, part))
            # A value that could not be typed is in `extra`, and stays in doubt.
            new[name] = pc.coalesce(new[name], pc.if_else(_mentions(extra, name), None, found))
    if says_banned:
        silent = pc.and_(one_chunk(table[_BANNED]).is_null(), new["md5"].is_valid())
        if pc.any(silent).as_py():
            new["extra"] = _marked(extra, silent)
    columns = [new.get(field.name, table[field.name]) for field in table.schema]
    return pa.Table.from_arrays(columns, schema=table.schema)


def _mentions(extra: pa.Array, name: str) -> pa.Array:
    return pc.fill_null(pc.match_substring(extra, f'"{name}"'), fill_value=False)


def _marked(extra: pa.Array, which: pa.Array) -> pa.Array:
    """`extra` with a null for ``is_banned`` in some rows, as a value that could not be typed."""
    texts = extra.to_pylist()
    for number, wanted in enumerate(which.to_pylist()):
        if wanted:
            held = msgspec.json.decode(texts[number] or "{}", type=dict[str, msgspec.Raw])
            texts[number] = msgspec.json.encode({**held, _BANNED: held.get(_BANNED)}).decode()
    return pa.array(texts, pa.string())
