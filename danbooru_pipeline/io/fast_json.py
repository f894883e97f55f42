"""JSON as msgspec reads and writes it, or the standard library where msgspec is not installed.

That is in the zipapp of `verify`, which brings nothing but this package. The standard library writes some floats in
another form (``1e-07`` for ``1e-7``), so there lines are compared by their values.
"""

import json
from collections.abc import Callable
from typing import Any

try:
    import msgspec
except ImportError:  # pragma: no cover - tests of the zipapp run in another environment
    _HAS_MSGSPEC = False
else:
    _HAS_MSGSPEC = True


def decode(text: str | bytes) -> Any:
    """A JSON document as Python has it."""
    return msgspec.json.decode(text) if _HAS_MSGSPEC else json.loads(text)


def encode(value: Any, *, default: Callable[[Any], Any] | None = None) -> bytes:
    """A value as JSON without spaces; `default` makes something of values that JSON does not know."""
    if _HAS_MSGSPEC:
        return msgspec.json.encode(value, enc_hook=default)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=default).encode()
