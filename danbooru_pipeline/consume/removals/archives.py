"""Tars and zip files of an export without some posts; a tar's index is written anew beside it."""

import hashlib
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from danbooru_pipeline.consume.removals.gone import Gone
from danbooru_pipeline.io.atomic import atomic_file, write_atomic
from danbooru_pipeline.release.tables.webdataset import index_of
from danbooru_pipeline.release_paths import WEBDATASET_INDEX


def tar_without(path: Path, gone: Gone, target: Path | None) -> int:
    """A tar without the members of these posts; all else keeps its bytes. Its index, which names them, goes first."""
    with tarfile.open(path, "r:") as tar:
        count = sum(gone.of_name(member.name) for member in tar)
    if target is not None:
        index = index_beside(path)
        if count:
            _write_tar(path, gone, target, index=index)
        elif index is not None and not index.exists():  # an earlier version that was killed left none
            _write_index(index, target)
    return count


def index_beside(tar: Path) -> Path | None:
    """Where the index of a tar is: in ``wds-index/``, or beside it; None where it has none."""
    apart, beside = tar.parent.parent / WEBDATASET_INDEX / f"{tar.stem}.json", tar.with_suffix(".json")
    if apart.parent.is_dir():
        return apart
    return beside if beside.exists() else None


def is_index(path: Path) -> bool:
    """Whether a file is the index of a tar, which is not about a post although its name may be a number."""
    if path.parent.name == WEBDATASET_INDEX:
        return True
    if path.suffix != ".json" or not path.with_suffix(".tar").is_file():
        return False
    try:
        msgspec.json.decode(path.read_bytes(), type=_Index)
    except msgspec.DecodeError:
        return False
    return True


class _Index(msgspec.Struct):
    files: dict[str, msgspec.Raw]


def _write_tar(path: Path, gone: Gone, target: Path, *, index: Path | None) -> None:
    """Put the index of the new tar in place, then the tar: a run that is killed in between does both again."""
    with tarfile.open(path, "r:") as tar, atomic_file(target) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as out:
            for member in tar:
                if not gone.of_name(member.name):
                    out.addfile(member, tar.extractfile(member) if member.isreg() else None)
        file.flush()
        if index is not None:
            _write_index(index, Path(file.name))


def _write_index(index: Path, tar: Path) -> None:
    write_atomic(index, msgspec.json.encode(index_of(tar, _files(tar))) + b"\n")


def _files(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            data = tar.extractfile(member) or BytesIO()
            digest = hashlib.file_digest(data, "sha256").hexdigest()  # type: ignore[arg-type]
            found[member.name] = {"offset": member.offset_data, "size": member.size, "sha256": digest}
    return found


def zip_without(path: Path, gone: Gone, target: Path | None) -> int:
    """A zip file without the members of these posts."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        kept = [member for member in members if not gone.of_name(member.filename)]
        if len(kept) < len(members) and target is not None:
            with atomic_file(target) as file, zipfile.ZipFile(file, "w") as out:
                for member in kept:
                    out.writestr(member, archive.read(member))
    return len(members) - len(kept)
