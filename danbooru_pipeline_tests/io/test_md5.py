"""MD5 of files and of bytes."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.io.md5 import md5_of, md5_of_bytes


def test_md5_is_that_of_the_standard(tmp_path: Path) -> None:
    """A file has the MD5 of its bytes, as RFC 1321 lists it for three letters."""
    (tmp_path / "file").write_bytes(b"abc")
    assert md5_of(tmp_path / "file") == md5_of_bytes(b"abc") == "900150983cd24fb0d6963f7d28e17f72"


def test_md5_works_where_security_may_not_rely_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine under FIPS rules gives an MD5 only to those who say that it is not for security; both say so."""
    real = hashlib.new

    def under_fips(name: str, data: bytes = b"", **options: Any) -> Any:
        if name == "md5" and options.get("usedforsecurity", True):
            raise ValueError("disabled for FIPS")
        return real(name, data, **options)

    monkeypatch.setattr(hashlib, "new", under_fips)
    monkeypatch.setattr(hashlib, "md5", lambda data=b"", **options: under_fips("md5", data, **options))
    (tmp_path / "file").write_bytes(b"")
    assert md5_of(tmp_path / "file") == md5_of_bytes(b"") == "d41d8cd98f00b204e9800998ecf8427e"
