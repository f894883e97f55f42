"""Thrift in its compact form, as the parts of a Parquet file are described, of which Arrow does not show all.

Only what Parquet needs: a structure becomes field -> value, a list a list. What it may hold is limited, since the file
may have been made to do harm.

Source: thrift-compact-protocol.md of Apache Thrift.
"""

import struct
from typing import Any, Final

#: Nesting of what Parquet describes is below ten.
_DEPTH: Final = 16
#: Values of a whole description: a footer has some forty for each column of a row group.
_VALUES: Final = 2**21
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12
_INTEGERS: Final = frozenset({4, 5, 6})
_LISTS: Final = frozenset({9, 10})


def read_struct(data: bytes) -> tuple[dict[int, Any], int]:
    """The structure at the beginning of some bytes, and how many of them it takes.

    Raises:
        ValueError: it is no structure, is cut off, or holds more than any description does.
    """
    reader = _Reader(data)
    try:
        return reader.structure(0), reader.at
    except (IndexError, struct.error):
        raise ValueError("a description in it is cut off") from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.left = data, 0, _VALUES

    def structure(self, depth: int) -> dict[int, Any]:
        """Fields up to the one that ends a structure; the kind of a field that is true or false is its value."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            fields[number] = kind == _TRUE if kind in {_TRUE, _FALSE} else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > _DEPTH:
            raise ValueError("a description in it holds more than any table needs")
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind == _STRUCT:
            return self.structure(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == _DOUBLE:
            return struct.unpack("<d", self._bytes(8))[0]
        if kind in {_TRUE, _FALSE, _BYTE}:  # in a list, a byte of its own
            return self._byte()
        raise ValueError("a description in it has a value of a kind that no table needs")

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise IndexError
        self.at += count
        return self.data[self.at - count : self.at]

    def _unsigned(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ValueError("a description in it has a number of more than 64 bits")

    def _integer(self) -> int:
        number = self._unsigned()
        return number >> 1 ^ -(number & 1)
