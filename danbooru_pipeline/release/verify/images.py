"""Verification of the images: both trees against the manifest, in both directions, and the lists of files."""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.bounded_sha256 import digests_of
from danbooru_pipeline.io.external_sort import ExternalGroupBy
from danbooru_pipeline.io.hash_processes import FileHasher
from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.io.untrusted import names_in, open_folder, opened, plain_names, read_bytes
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS, PART_SUFFIX, bucket_of
from danbooru_pipeline.release.checksums import (
    BUCKET_FOLDER,
    FILELIST,
    LIST_SCHEMA,
    LONGEST_LIST,
    NOT_AS_WRITTEN,
    NSFW_IDS,
    PX512,
    TREES,
    ImageFile,
    Tree,
    by_bucket,
    examine_sums,
    list_columns,
    nsfw_id_lines,
    sums_lines,
)
from danbooru_pipeline.release.verify.filelist import ExpectedFilelist, some_lines
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release.verify.walk import check_mode
from danbooru_pipeline.release_paths import checksums_path

_SCHEMA = LIST_SCHEMA.append(pa.field("rating", pa.string()))
#: A list may have so many bytes more than it should before it is not read to its end.
_MORE = 2**20
_KNOWN_BUCKETS = frozenset(BUCKETS)
_SAFE = {tree.name: rf"^{tree.name}/[0-9]{{4}}/[1-9][0-9]*\.[a-z0-9]+$" for tree in TREES}


class ImageChecks:
    """Collects the manifest by bucket, then compares each bucket with the disk.

    Attributes:
        files: images whose size or content was checked.
        hashed: images whose content was checked.
    """

    def __init__(self, run: Verification, hasher: FileHasher) -> None:
        self.files = 0
        self.hashed = 0
        self._run = run
        self._hasher = hasher
        self._hashes = run.full or run.bucket is not None
        self._folder = run.folder
        self._sfw = run.release.sfw_ratings if run.release else None
        self._by_bucket = ExternalGroupBy(_SCHEMA, key=by_bucket)
        # A file, since millions of lines are more than memory should hold.
        self._nsfw_ids = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as self
        self._filelist = ExpectedFilelist()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._by_bucket.__exit__(kind, error, trace)
        self._nsfw_ids.close()
        self._filelist.close()

    def add(self, table: pa.Table) -> None:
        """Take manifest rows. A path of the wrong form is a finding already, and is not used."""
        rows = list_columns(table)
        for tree in TREES:
            safe = pc.match_substring_regex(rows[tree.path], _SAFE[tree.name])
            safe = pc.and_kleene(safe, pc.and_(pc.is_valid(rows[tree.size]), pc.is_valid(rows[tree.sha256])))
            # Where `safe` is null, the path is null already.
            paths = pc.if_else(safe, rows[tree.path], pa.scalar(None, pa.string()))
            rows = rows.set_column(rows.schema.get_field_index(tree.path), tree.path, paths)
        rating = table["rating"].cast(pa.string())
        self._by_bucket.add(rows.append_column("rating", rating).cast(_SCHEMA))
        if self._sfw is not None:
            self._nsfw_ids.writelines(nsfw_id_lines([table], sfw=self._sfw))

    def check_all(self) -> None:
        """Check the wanted bucket, or all of them and the lists of all files."""
        self._check_files()
        if self._run.bucket is None:
            self._check_lists()

    def _check_files(self) -> None:
        # Buckets are compared while the files of those before are hashed.
        for file, digest in self._hasher.digests(self._compared()):
            self.hashed += 1
            if digest != file.sha256:
                self._differs(file, digest)

    def _differs(self, file: ImageFile, digest: str | None) -> None:
        """Say in what a file differs: in its mode, its size or its content."""
        if digest is None:
            with contextlib.suppress(OSError):
                size = check_mode(self._run, file.path, self._folder / file.path).st_size
                if size != file.size:
                    self.hashed -= 1
                    self._other_size(file, size)
                    return
            digest = next(digests_of(self._folder, [(file.path, file.size)]))  # whatever its mode
        if digest != file.sha256:
            self._run.add(Kind.IMAGE_ALTERED, file.path, "its SHA-256 is not the one in the manifest")

    def _other_size(self, file: ImageFile, size: int) -> None:
        self._run.add(Kind.IMAGE_SIZE, file.path, f"has {size} bytes, the manifest says {file.size}")

    def _compared(self) -> Iterator[ImageFile]:
        """Compare each bucket with the disk. Yields the files that are to be hashed."""
        bucket = self._run.bucket
        unseen = self._buckets_on_disk() if bucket is None else {bucket}
        total = BUCKET_COUNT if bucket is None else 1
        done = 0
        for number, table in self._by_bucket.groups():
            name = BUCKETS[number]
            if bucket in {None, name}:
                unseen.discard(name)
                yield from self._check_bucket(name, table)
                done += 1
                self._run.progress("buckets", done, total)
        for name in sorted(unseen):
            yield from self._check_bucket(name, no_rows(_SCHEMA))
        self._run.progress("buckets", total, total)

    def _buckets_on_disk(self) -> set[str]:
        """Buckets with a folder. Other folders that look like buckets are reported, as no other check visits them."""
        found: set[str] = set()
        for tree in TREES:
            for name in names_in(self._folder, tree.name):
                if name in _KNOWN_BUCKETS:
                    found.add(name)
                elif BUCKET_FOLDER.fullmatch(name) or _is_empty_folder(self._folder, f"{tree.name}/{name}"):
                    self._run.add(Kind.IMAGE_EXTRA, f"{tree.name}/{name}", "is not a bucket")
            lists = plain_names(self._folder, f"checksums/{tree.name}")
            found |= {name.removesuffix(".sha256") for name in lists} & _KNOWN_BUCKETS
        return found

    def _check_bucket(self, bucket: str, table: pa.Table) -> Iterator[ImageFile]:
        for tree, files in _files_by_tree(table):
            self.files += len(files)
            self._filelist.add(tree, files)
            self._check_sums(tree, bucket, files)
            # Hashing looks at size and mode, too, and `_unknown` at the size of what is not hashed.
            if self._hashes and self._has_just(tree, bucket, files):
                yield from self._unknown(tree, bucket, files)
                continue
            expected = {file.path: file for file in files}
            sizes = self._sizes(tree, bucket, expected if self._hashes and not self._run.known else {})
            for path in sorted(expected.keys() - sizes.keys()):
                self._run.add(Kind.IMAGE_MISSING, path, "is in the manifest, but does not exist")
            if extra := sorted(sizes.keys() - expected.keys()):
                self._extra(tree, bucket, extra, table)
            same = [file for path, file in expected.items() if sizes.get(path) == file.size]
            for path in sorted((expected.keys() & sizes.keys()) - {file.path for file in same}):
                self._other_size(expected[path], sizes[path])
            if self._hashes:
                yield from self._unknown(tree, bucket, same)

    def _has_just(self, tree: Tree, bucket: str, files: Sequence[ImageFile]) -> bool:
        """Whether a bucket's folder has exactly these files. If not, they are compared one by one."""
        folder = f"{tree.name}/{bucket}/"
        names = {file.path[len(folder) :] for file in files}
        if not names or any(name.endswith(PART_SUFFIX) for name in names):
            return False
        try:
            descriptor = open_folder(self._folder, folder)
        except OSError:
            return False
        try:
            with os.scandir(descriptor) as listed:
                found = [entry.name if entry.is_file(follow_symlinks=False) else "" for entry in listed]
        finally:
            os.close(descriptor)
        return len(found) == len(names) == len(files) and names.issuperset(found)

    def _sizes(self, tree: Tree, bucket: str, believed: Mapping[str, ImageFile]) -> dict[str, int]:
        """Path -> size of the files in a bucket's folder; those in `believed` are not looked at."""
        folder = f"{tree.name}/{bucket}"
        try:
            descriptor = open_folder(self._folder, folder)
        except OSError as error:
            if error.errno != errno.ENOENT:
                self._run.add(Kind.NOT_A_FILE, folder, "is not a folder")
            return {}
        try:
            with os.scandir(descriptor) as listed:
                entries = list(listed)
            if not entries:
                self._run.add(Kind.EMPTY_FOLDER, folder, "is an empty folder")
            sizes: dict[str, int] = {}
            for entry in entries:
                path = f"{folder}/{entry.name}"
                if self._is_image(path, entry):
                    file = believed.get(path)
                    sizes[path] = check_mode(self._run, path, entry).st_size if file is None else file.size
            return sizes
        finally:
            os.close(descriptor)

    def _is_image(self, path: str, entry: "os.DirEntry[str]") -> bool:
        if not entry.is_file(follow_symlinks=False):
            self._run.add(Kind.NOT_A_FILE, path, "is a link, a folder or a special file")
        elif path.endswith(PART_SUFFIX):
            self._run.add(Kind.PART_FILE, path, "is an unfinished file")
        else:
            return True
        return False

    def _extra(self, tree: Tree, bucket: str, paths: Sequence[str], table: pa.Table) -> None:
        """Name the files of a bucket that the manifest does not have, and say where they belong."""
        lines = [] if self._sfw is None or tree is not PX512 else nsfw_id_lines([table], sfw=self._sfw)
        nsfw = {int(id_) for some in lines for id_ in some.split()}
        for path in paths:
            stem = path.rpartition("/")[2].partition(".")[0]
            post_id = int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 19 else 0
            if post_id and bucket_of(post_id) != bucket:
                self._run.add(Kind.WRONG_BUCKET, path, f"belongs in bucket {bucket_of(post_id)}")
            elif post_id in nsfw:
                self._run.add(Kind.NOT_SFW, path, "is a 512px image of a post whose rating is not SFW")
            else:
                self._run.add(Kind.IMAGE_EXTRA, path, "exists, but is not in the manifest")

    def _unknown(self, tree: Tree, bucket: str, files: list[ImageFile]) -> list[ImageFile]:
        """The files that are not also, under the same name and sum and of the right size, files of a known release."""
        folder = f"{tree.name}/{bucket}/"
        for release in self._run.known if files else ():
            with contextlib.suppress(OSError):
                listed = set(read_bytes(release, checksums_path(tree.name, bucket), limit=LONGEST_LIST).splitlines())
                same = _same_files(self._folder, release, folder)
                files = [
                    file
                    for file in files
                    if same.get(file.path) != file.size or f"{file.sha256}  {file.path}".encode() not in listed
                ]
        return files

    def _check_sums(self, tree: Tree, bucket: str, files: Sequence[ImageFile]) -> None:
        name = checksums_path(tree.name, bucket)
        should = sums_lines((file.sha256, file.path) for file in files)
        # A list that is listed, and was hashed, need not be read again.
        digest = hashlib.sha256(should).hexdigest()
        if files and self._run.sums.get(name) == digest and self._run.is_readable(name):
            return
        data = self._list(name)
        if data == should:
            if not files and self._run.has(name):
                self._run.add(Kind.CHECKSUMS_DIFFER, name, "is empty, and a bucket without images has no list")
            return
        expected = {file.path: file.sha256 for file in files}
        listed, wrong = examine_sums(data)
        for line in wrong:
            self._run.add(Kind.CHECKSUMS_DIFFER, name, f"has a damaged or repeated line: {line}")
        for path in sorted(expected.keys() | listed.keys()):
            if expected.get(path) != listed.get(path):
                self._run.add(Kind.CHECKSUMS_DIFFER, name, f"disagrees with the manifest about {path}")
        if not wrong and listed == expected:
            self._run.add(Kind.CHECKSUMS_DIFFER, name, f"is {NOT_AS_WRITTEN}")

    def _list(self, name: str) -> bytes:
        """A list of checksums; nothing where there is none that can be read, which other checks report."""
        try:
            return read_bytes(self._folder, name, limit=LONGEST_LIST)
        except (OSError, ValueError):
            return b""

    def _check_lists(self) -> None:
        """Check the list of all files and the list of ids that are not SFW."""
        with self._run.reading(Kind.FILELIST_DIFFERS, FILELIST):
            self._filelist.check(self._run)
        if self._sfw is not None:
            with self._run.reading(Kind.NSFW_IDS_DIFFER, NSFW_IDS):
                self._check_nsfw_ids()

    def _check_nsfw_ids(self) -> None:
        size = self._nsfw_ids.tell()
        with opened(self._folder, NSFW_IDS) as file:
            if all(file.read(len(lines)) == lines for lines in some_lines(self._nsfw_ids)) and not file.read(1):
                return
        listed = list(map(int, read_bytes(self._folder, NSFW_IDS, limit=size + _MORE).split()))
        self._nsfw_ids.seek(0)
        expected = set(map(int, self._nsfw_ids))
        if listed != sorted(set(listed)) or expected == set(listed):
            self._run.add(Kind.NSFW_IDS_DIFFER, NSFW_IDS, "does not have one id a line, ascending")
        for post_id in sorted(expected.symmetric_difference(listed)):
            said = "is not listed" if post_id in expected else "is listed, but its rating is SFW"
            self._run.add(Kind.NSFW_IDS_DIFFER, NSFW_IDS, f"{post_id} {said}")


def _files_by_tree(table: pa.Table) -> Iterator[tuple[Tree, list[ImageFile]]]:
    """The files of a bucket's rows in each tree, sorted by path. The same as `tree_files` for few rows, and quicker."""
    for tree in TREES:
        columns = [table[name].to_pylist() for name in tree.columns]
        yield tree, sorted(ImageFile(*values) for values in zip(*columns, strict=True) if values[0] is not None)


def _is_empty_folder(root: Path, folder: str) -> bool:
    """Whether a folder is empty. Files in unknown folders are unlisted documents; empty folders are found only here."""
    return (root / folder).is_dir() and not (root / folder).is_symlink() and not names_in(root, folder)


def _same_files(root: Path, other: Path, folder: str) -> dict[str, int]:
    """Path -> size of the files in a folder like ``512px/0001/`` that are the same files there below another root.

    The other folder says which file each of its names is of. Where file systems make that up (FUSE without `use_ino`),
    no file is the same, since a look at ours tells its own number.

    Raises:
        OSError: one of the folders is missing, or reached by a link.
    """
    theirs = open_folder(other, folder)
    try:
        ours = open_folder(root, folder)
        try:
            if os.fstat(ours).st_dev != os.fstat(theirs).st_dev:
                return {}
            with os.scandir(theirs) as entries:
                known = {(e.name, e.inode()) for e in entries if e.is_file(follow_symlinks=False)}
            with os.scandir(ours) as entries:
                looked = [(e.name, e.stat(follow_symlinks=False)) for e in entries if e.is_file(follow_symlinks=False)]
        finally:
            os.close(ours)
    finally:
        os.close(theirs)
    return {f"{folder}{name}": facts.st_size for name, facts in looked if (name, facts.st_ino) in known}
