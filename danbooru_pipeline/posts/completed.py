"""What a row lacks and says elsewhere: MD5 and extension are in the address of the file.

Every row of a source goes through here before anything is decided by it: whole tables of a sweep by `completed`,
answers about single posts, months later, by `complete_rows`. Else the second answer would contradict the first.

A source whose export dropped a column from some of its rows does not hide those posts, nor are they damaged. And where
some rows say whether they are banned, one that does not say is not free: it is marked, so that no file is taken.
"""

from collections.abc import Collection, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.fast_json import decode
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.layout import MD5_FORM
from danbooru_pipeline.posts.schema import POST_SCHEMA, CompleteRow, PostRow

_BANNED: Final = "is_banned"
#: The end of the address of an original.
_ADDRESS: Final = r"(?P<md5>[0-9a-fA-F]{32})\.(?P<ext>[0-9A-Za-z]{2,5})(?:[?#].*)?$"
_AS_THE_SITE: Final = f"^{MD5_FORM}$"
#: An MD5 as databases write one: in upper case, as bytes of Postgres, with the dashes of a UUID.
_AS_OTHERS: Final = r"^(?:\\x)?" + "-?".join(f"([0-9a-fA-F]{{{digits}}})" for digits in (8, 4, 4, 4, 12)) + "$"


def completed(table: pa.Table, *, says_banned: bool) -> pa.Table:
    """Posts with MD5 and extension as the site writes them, from their address where a row lacks them.

    Args:
        table: of `POST_SCHEMA`.
        says_banned: whether any row of the source says if its post is banned (`says_who_is_banned`).
    """
    if not table.num_rows:
        return table
    extra = one_chunk(table["extra"])
    ext = pc.utf8_ltrim(pc.utf8_trim_whitespace(one_chunk(table["file_ext"])), ".")
    new = {"md5": _as_the_site(one_chunk(table["md5"])), "file_ext": pc.utf8_lower(ext)}
    if new["md5"].null_count or new["file_ext"].null_count:
        named = pc.extract_regex(one_chunk(table["file_url"]), _ADDRESS)
        for name, part in (("md5", "md5"), ("file_ext", "ext")):
            new[name] = _filled(name, new[name], pc.utf8_lower(pc.struct_field(named, part)), extra)
    if says_banned:
        silent = pc.and_(one_chunk(table[_BANNED]).is_null(), new["md5"].is_valid())
        if pc.any(silent).as_py():
            new["extra"] = _marked(extra, silent)
    columns = [new.get(field.name, table[field.name]) for field in table.schema]
    return pa.Table.from_arrays(columns, schema=table.schema)


def complete_rows(rows: Sequence[PostRow], *, says_banned: bool) -> list[CompleteRow]:
    """The same for some rows, in their order.

    Args:
        rows: as `parse_api_record` gives them.
        says_banned: whether the source is known to say of its posts if they are banned; if one of these rows does, it
            is one that says.
    """
    table = pa.Table.from_pylist(list(rows), schema=POST_SCHEMA)
    whole = completed(table, says_banned=says_banned or says_who_is_banned(table))
    return [CompleteRow(row) for row in whole.to_pylist()]


def says_who_is_banned(table: pa.Table) -> bool:
    """Whether any row says if its post is banned."""
    return bool(table[_BANNED].null_count < table.num_rows)


def _as_the_site(md5: pa.Array) -> pa.Array:
    """MD5s in lower case and without ornament; what is no MD5 stays as it is."""
    if pc.all(pc.match_substring_regex(md5, _AS_THE_SITE)).as_py():
        return md5
    bare = pc.utf8_trim_whitespace(md5)
    found = pc.utf8_lower(pc.replace_substring_regex(bare, _AS_OTHERS, r"\1\2\3\4\5"))
    return pc.if_else(pc.match_substring_regex(bare, _AS_OTHERS), found, md5)


def _filled(name: str, column: pa.Array, found: pa.Array, extra: pa.Array) -> pa.Array:
    """A column with what was found elsewhere, except where its value could not be typed: that stays in doubt."""
    lacking = pc.and_(column.is_null(), found.is_valid())
    held_apart = [name in _members(text) for text in extra.filter(lacking).to_pylist()]
    in_doubt = pc.replace_with_mask(
        pa.repeat(pa.scalar(value=False), len(column)), lacking, pa.array(held_apart, pa.bool_())
    )
    return pc.coalesce(column, pc.if_else(in_doubt, None, found))


def _marked(extra: pa.Array, which: pa.Array) -> pa.Array:
    """`extra` with a null for ``is_banned`` in some rows, as a value that could not be typed."""
    texts = extra.to_pylist()
    for number, wanted in enumerate(which.to_pylist()):
        if wanted and _BANNED not in _members(text := texts[number]):
            # Its other members stay as they are, numbers that Python would write in another form among them.
            texts[number] = f"{text[:-1]}," if text and text != "{}" else "{"
            texts[number] += f'"{_BANNED}":null}}'
    return pa.array(texts, pa.string())


def _members(extra: str | None) -> Collection[str]:
    """The names in a row's `extra`."""
    names: dict[str, object] = decode(extra) if extra else {}
    return names
