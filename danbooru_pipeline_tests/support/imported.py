"""A store without files, and what of its files exists elsewhere: trees, tars and a release."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import original_path, px512_path
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.release import ManifestRow
from danbooru_pipeline.release.manifest.row import manifest_table
from danbooru_pipeline.store.columns import ORIGINAL_FACTS, PX512_FACTS
from danbooru_pipeline.store.imports import ImportReport, import_files, open_holdings
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline_tests.support.buckets import buckets_of, build_all

YEAR = 2021
#: The booru refuses programs that do not say who they are.
AGENT = {"User-Agent": "danbooru-pipeline-tests/1 (tests@example.org)"}


@dataclass(frozen=True)
class NewStore:
    """An operator who has the posts and no file, and the site's own files."""

    context: RunContext
    booru: BooruProcess
    files: dict[int, tuple[str, bytes]]

    def take(self, *paths: Path, move: bool = False, dry_run: bool = False) -> ImportReport:
        """Import."""
        return import_files(self.context, open_holdings(paths), move=move, dry_run=dry_run)

    def requests_of_a_build(self) -> int:
        """How many different files a build asks for."""
        self.booru.reset_requests()
        build_all(self.context, YEAR)
        return len(set(self.booru.requested_files()))  # a post whose MD5 is wrong is asked for twice

    def ledger(self) -> dict[int, LedgerRow]:
        """All rows."""
        layout = self.context.layout
        return {
            k: v for bucket in buckets_of(self.context, YEAR) for k, v in read_ledger(layout.ledger(bucket)).items()
        }

    def tree(self, folder: Path) -> Path:
        """The site's files as ``original/BUCKET/ID.EXT``."""
        for id_, (ext, data) in self.files.items():
            path = folder / original_path(id_, ext)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

    def of(self, ext: str, number: int = 0) -> int:
        """The id of a file of some type."""
        return sorted(id_ for id_, (its, _) in self.files.items() if its == ext)[number]


def write_release(old: RunContext, folder: Path) -> Path:
    """What an import needs of a release of a store: its originals, manifest and checksums."""
    rows = []
    for bucket in buckets_of(old, YEAR):
        for row in read_ledger(old.layout.ledger(bucket)).values():
            held = row.status is Status.OK
            path = original_path(row.id, row.held_ext or "") if held else None
            if path:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).hardlink_to(old.layout.store / path)
            small = px512_path(row.id) if held and row.px512_sha256 else None
            if small:
                (folder / small).parent.mkdir(parents=True, exist_ok=True)
                (folder / small).hardlink_to(old.layout.store / small)
            names = (*(ORIGINAL_FACTS if held else ()), *(PX512_FACTS if small else ()))
            rows.append(
                ManifestRow(
                    id=row.id, bucket=bucket, rating="s", status=row.status.value, path=path, source_md5=row.md5,
                    px512_status="ok" if small else "failed", px512_path=small, first_release=2020,
                    px512_reason=row.px512_reason and row.px512_reason.value,
                    **{name: getattr(row, name) for name in names},
                )
            )  # fmt: skip
    (folder / "manifest").mkdir()
    file = folder / "manifest/files-00000-of-00001.parquet"
    pq.write_table(manifest_table(sorted(rows, key=lambda row: row.id)), file)
    (folder / "SHA256SUMS").write_text(f"{sha256_of(file)}  manifest/{file.name}\n")
    settings = {"image_settings": old.image_settings.as_dict()}
    (folder / "RELEASE.json").write_text(json.dumps(settings))
    return folder


def pack(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar of these members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def names_of(store: NewStore) -> list[tuple[str, bytes]]:
    """Every file of a store as a member of a tar."""
    return [(f"{id_}.{ext}", data) for id_, (ext, data) in sorted(store.files.items())]


def as_another_user(folder: Path, work: Callable[[], bool]) -> bool:
    """Whether work succeeds in a child without the rights of root, in a folder: those above are closed to others."""
    folder.chmod(0o777)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            os.seteuid(65534)
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0
