"""The Hugging Face Hub: a data set a release, ``OWNER/danbooru2022``, with a tar a bucket.

The Hub takes no millions of files, so images go as ``original/0123.tar`` and ``512px/0123.tar``, each with its index
beside it (``0123.json``), which hfutils and cheesechaser read. Documents lie as in the release, without the lists of
single images. A tar is made from its bucket when it is sent; the same bucket gives the same bytes, so one that the Hub
has already is known by its digest. The token is ``HF_TOKEN``; nothing here reads or writes it.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.publish.pieces import DOCUMENTS, Group, Piece, buckets_of, document_groups
from danbooru_pipeline.publish.place import ask, hub_address
from danbooru_pipeline.release.checksums import read_sums
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.release.tables.webdataset import ShardImage, index_of, write_tar
from danbooru_pipeline.years import cutoff

#: Documents that are about single files of the trees, or are in the tars.
_NOT_THERE: Final = ("wds/", "wds-index/", "512px/")


class HubPlace:
    """See `Place`.

    Args:
        owner: user or organisation.
    """

    #: Commits to a repository are limited to some hundred an hour.
    batch = 20
    threads = 1

    def __init__(self, owner: str) -> None:
        self.address = hub_address(owner)
        self._owner = owner
        self._name = ""
        try:
            from huggingface_hub import HfApi  # noqa: PLC0415 - an extra
            from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415
        except ImportError as error:
            raise PublishError(
                "publishing to the Hub needs huggingface-hub; pip install danbooru-pipeline[hub]"
            ) from error
        disable_progress_bars()  # one a file; publishing has its own progress
        # Its own client reads that once, when it is imported.
        self._api: HfApi = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))

    @property
    def _where(self) -> dict[str, Any]:
        return {"repo_id": f"{self._owner}/{self._name}", "repo_type": "dataset"}

    def groups(self, folder: Path) -> list[Group]:
        """All tars of a tree are a group, since a piece is a whole bucket."""
        mtime = int(cutoff(read_release(folder).year).timestamp())
        found: dict[str, list[tuple[str, str]]] = {}
        for tree, bucket, name in buckets_of(folder):
            found.setdefault(tree, []).append((bucket, name))
        trees = [Group(tree, tree, partial(_tars, folder, tree, found[tree], mtime)) for tree in sorted(found)]
        return [*trees, *(_without_lists(group) for group in document_groups(folder))]

    def open(self, name: str) -> None:
        """Make the data set, if there is none."""
        self._name = name
        ask(self.address, lambda: self._api.create_repo(**self._where, exist_ok=True))

    def paths_of(self, piece: Piece) -> list[str]:
        """A tar and its index, or a document."""
        return [f"{piece.name}.tar", f"{piece.name}.json"] if piece.name.endswith(BUCKETS) else [piece.name]

    def held(self) -> list[str]:
        """Everything, if there is anything."""
        return ["512px", "original", DOCUMENTS] if self._listed() else []

    def _listed(self) -> list[str]:
        found = ask(self.address, lambda: self._api.list_repo_files(**self._where))
        return [path for path in found if path != ".gitattributes"]  # the Hub's own

    def listed(self, folder: str) -> list[str]:
        """Every file below a folder; of documents, all that are in no tree of images."""
        inside = ("512px/", "original/")
        found = self._listed()
        if folder:
            return [path for path in found if path.startswith(f"{folder}/")]
        return [path for path in found if not path.startswith(inside)]

    def digest(self, path: str) -> str | None:
        """The Hub knows that of large files; small ones are read."""
        infos = ask(self.address, lambda: self._api.get_paths_info(paths=[path], **self._where))
        if not infos:
            return None
        if (large := getattr(infos[0], "lfs", None)) is not None:
            return str(large.sha256)
        with TemporaryDirectory(prefix="danbooru-hub-") as work:
            read = partial(self._api.hf_hub_download, filename=path, local_dir=work, **self._where)
            return sha256_of(ask(self.address, read))

    def put(self, files: Mapping[str, Path]) -> None:
        """Put files there in one commit."""
        from huggingface_hub import CommitOperationAdd  # noqa: PLC0415 - an extra

        added = [CommitOperationAdd(path, str(file)) for path, file in files.items()]
        self._commit(added, f"Add {len(added):,} files")

    def remove(self, paths: Collection[str]) -> None:
        """Remove files from the newest commit; `end` squashes the history, which would still have them."""
        from huggingface_hub import CommitOperationDelete  # noqa: PLC0415 - an extra

        there = set(self._listed())
        gone = [CommitOperationDelete(path) for path in paths if path in there]
        if gone:
            self._commit(gone, f"Remove {len(gone):,} files")

    def _commit(self, operations: list[Any], message: str) -> None:
        def commit() -> None:
            self._api.create_commit(operations=operations, commit_message=message, **self._where)

        ask(self.address, commit, passed_on=(FileNotFoundError,))  # a file of the release, which was replaced meanwhile

    def beside(self, files: Mapping[str, Path]) -> None:
        """There is nothing beside a data set."""

    def end(self, name: str, *, newest: bool) -> None:  # noqa: ARG002 - each release is a data set of its own
        """Squash the history, so that no older commit has what was removed."""
        ask(self.address, lambda: self._api.super_squash_history(**self._where, commit_message=name))


def _without_lists(group: Group) -> Group:
    return Group(group.name, "", lambda: (piece for piece in group.pieces() if not piece.name.startswith(_NOT_THERE)))


def _tars(folder: Path, tree: str, buckets: list[tuple[str, str]], mtime: int) -> Iterator[Piece]:
    for bucket, name in buckets:
        sums = read_sums(folder, name)
        fingerprint = hashlib.sha256(msgspec.json.encode(sums)).hexdigest()
        size = sum((folder / path).stat().st_size for path in sums if (folder / path).is_file())
        packed = partial(_packed, folder, f"{tree}/{bucket}", sorted(sums), mtime)
        yield Piece(f"{tree}/{bucket}", fingerprint, size, packed)


@contextmanager
def _packed(folder: Path, name: str, paths: list[str], mtime: int) -> Iterator[Mapping[str, Path]]:
    """A bucket as a tar, and its index."""
    with TemporaryDirectory(prefix="danbooru-hub-") as work:
        tar, index = Path(work, "images.tar"), Path(work, "index.json")
        images = (ShardImage(name=path.rpartition("/")[2], path=folder / path) for path in paths)
        files = write_tar(tar, images, mtime=mtime)
        index.write_bytes(msgspec.json.encode(index_of(tar, files)) + b"\n")
        yield {f"{name}.tar": tar, f"{name}.json": index}
