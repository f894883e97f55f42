"""What a file is that was given by mistake, as its first bytes show, and what to do about it."""

import re
from typing import Final

#: Bytes that show what a file is.
HEAD_BYTES: Final = 1024
_TAR: Final = re.compile(rb".{257}ustar", re.DOTALL)
#: Rows as a member of an object, and members before them that are no row's: it would have an id.
_ARRAY: Final = rb"""\s*"(?P<key>posts?|data|items|results|rows|records)"\s*:\s*\["""
_MEMBERS: Final = rb"""(?:\s*"(?!id")[^"\\]*"\s*:\s*(?:"[^"\\]*"|[\w.+-]+|\{[^{}]*\}|\[[^\[\]{}]*\])\s*,)+"""
_AROUND: Final = "is one JSON object around an array; write one object a line, like `jq -c '.{key}[]'`"
#: How files start that are given by mistake, and what they are.
_MISTAKES: Final = (
    (re.compile(rb"\xef\xbb\xbf"), "starts with a byte order mark; save it as UTF-8 without one"),
    (re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff|\{\0\0\0|\0\0\0\{"), "is UTF-32 text; save it as UTF-8"),
    (re.compile(rb"\xff\xfe|\xfe\xff|\{\0|\0\{"), "is UTF-16 text; save it as UTF-8"),
    (_TAR, "is a tar file; unpack it, or set DANBOORU_ARCHIVE to it"),
    (re.compile(rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd"), "is packed twice; unpack it once"),
    (re.compile(rb"\x5d\0\0"), "is .lzma, the format before xz; pack it by xz, or unpack it"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "is a 7z archive; unpack it"),
    (re.compile(rb"Rar!"), "is a RAR archive; unpack it"),
    (re.compile(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18"), "is packed by lz4; pack it by zstandard, or unpack it"),
    (re.compile(rb"\x1f\x9d"), "is packed by compress (.Z); pack it by gzip, or unpack it"),
    (re.compile(rb"\xff\x06\0\0sNaPpY"), "is packed by snappy; pack it by zstandard, or unpack it"),
    (re.compile(rb"Obj\x01"), "is Avro; write it as JSON lines"),
    (re.compile(rb"\0{16}"), "starts with zero bytes, as a download that was cut off leaves them; get it again"),
    (re.compile(rb"\s*\{" + _ARRAY), _AROUND),
    (re.compile(rb"\s*\{" + _MEMBERS + _ARRAY + rb"\s*[{\]]"), _AROUND),
    (re.compile(rb"[^\n]*\}\r[ \t\r]*\{"), r"has CR alone between its lines; write LF, like `tr '\r' '\n'`"),
    (re.compile(rb"\s*\["), "is a JSON array; write one object a line, like `jq -c '.[]'`"),
    (re.compile(rb"\s*\{\s*[\r\n]"), "is indented JSON; write one object a line, like `jq -c .`"),
    (re.compile(rb"\s*<"), "is a web page or XML; check the address and the login"),
    (re.compile(rb"PAR1"), "is Parquet; write it as JSON lines"),
    (re.compile(rb"SQLite format 3\0"), "is an SQLite database; write its table as JSON lines"),
    (re.compile(rb"PK\x03\x04"), "is a ZIP archive; unpack it"),
    (re.compile(rb"""\s*(version https://git-lfs)"""), "is a Git LFS pointer; fetch the file itself"),
    (re.compile(rb"""\s*["\w][^{\r\n\0]*[,\t;|]"""), "is CSV or other text; write it as JSON lines"),
)
_JSON: Final = re.compile(rb"\s*\{")


def mistake_for_lines(head: bytes | bytearray) -> str:
    """What a file is that starts so and should be JSON lines; empty if it may be."""
    found = ((match, what) for start, what in _MISTAKES if (match := start.match(head)))
    match, what = next(found, (None, ""))
    return what.format(**{name: text.decode() for name, text in match.groupdict().items()}) if match else what


def mistake_for_tar(head: bytes) -> str:
    """What a file is that starts so and should be a tar file; empty if it may be, or nobody knows."""
    if _TAR.match(head):
        return ""
    if _JSON.match(head) and not mistake_for_lines(head):
        return "is JSON lines; put it into a folder as posts.json, and set DANBOORU_ARCHIVE to the folder"
    return mistake_for_lines(head)
