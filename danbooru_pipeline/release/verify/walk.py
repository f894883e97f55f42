"""What lies in a release: its documents and their sizes; and links, special files, empty folders and odd modes."""

import os
import stat
from pathlib import Path

from danbooru_pipeline.io.bounded_sha256 import ANY_MODE, ModeRule
from danbooru_pipeline.layout import PART_SUFFIX
from danbooru_pipeline.release.checksums import BUCKET_FOLDER, TREES
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS, SIGNATURE

#: Bits of which a folder may have some, and a file none.
_ODD = stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
#: What SHA256SUMS cannot list.
_APART = frozenset({SHA256SUMS, SIGNATURE, RELEASE_JSON})
_TREES = frozenset(tree.name for tree in TREES)


def walk_documents(run: Verification) -> dict[str, int]:
    """Path -> size of every document that may be read. All else that lies about is a finding."""
    found: dict[str, int] = {}
    waiting = [""]
    while waiting:
        above = waiting.pop()
        try:
            with os.scandir(run.folder / above) as listed:
                entries = list(listed)
        except OSError as error:
            run.add(Kind.NOT_A_FILE, above or ".", f"cannot be listed: {error.strerror}")
            continue
        # An empty folder beside the buckets is reported as such; a tree without images is one.
        if not entries and not {above, above.rpartition("/")[0]} & _TREES:
            run.add(Kind.EMPTY_FOLDER, above, "is an empty folder")
        for entry in entries:
            name = f"{above}/{entry.name}" if above else entry.name
            try:
                is_folder = _take(run, name, entry, found)
            except OSError as error:  # of a path that is too long for the system, or that is gone by now
                run.add(Kind.NOT_A_FILE, name, f"cannot be looked at: {error.strerror}")
                continue
            if is_folder and (above not in _TREES or not BUCKET_FOLDER.fullmatch(entry.name)):
                waiting.append(name)
    return dict(sorted(found.items(), key=lambda item: os.fsencode(item[0])))


def _take(run: Verification, name: str, entry: "os.DirEntry[str]", found: dict[str, int]) -> bool:
    """Look at one entry, and note it if it is a document. Returns whether it is a folder."""
    if entry.is_dir(follow_symlinks=False):
        check_mode(run, name, entry)
        return True
    if not entry.is_file(follow_symlinks=False):
        run.add(Kind.NOT_A_FILE, name, "is a link or a special file")
    elif name in _APART:
        check_mode(run, name, entry)
    elif name.endswith(PART_SUFFIX):
        run.add(Kind.PART_FILE, name, "is an unfinished file")
    else:
        found[name] = check_mode(run, name, entry).st_size
    return False


def image_modes(run: Verification) -> ModeRule:
    """The modes of images that are no findings; see `odd_mode`."""
    return ModeRule(needed=stat.S_IRUSR, forbidden=_ODD) if run.published else ANY_MODE


def check_mode(run: Verification, name: str, entry: "os.DirEntry[str] | Path") -> os.stat_result:
    """Report a mode that lets anybody write, or nobody read. What copying and downloading do to modes is no fault."""
    facts = entry.stat(follow_symlinks=False)
    if run.published and (wrong := odd_mode(facts.st_mode)) is not None:
        run.add(Kind.MODE, name, wrong)
    return facts


def check_folder_mode(run: Verification, folder: Path) -> None:
    """The same for the release's own folder."""
    if run.published and (wrong := odd_mode(folder.stat().st_mode)) is not None:
        run.add(Kind.MODE, ".", wrong)


def odd_mode(mode: int) -> str | None:
    """What is wrong with a mode."""
    needed = stat.S_IRUSR | stat.S_IXUSR if stat.S_ISDIR(mode) else stat.S_IRUSR
    if mode & needed == needed and not mode & _ODD:
        return None
    text = stat.filemode(mode)
    if mode & stat.S_IWOTH:
        return f"its mode {text} lets everybody write to it"
    if mode & needed != needed:
        return f"its mode {text} lets not even its owner read it"
    if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        return f"its mode {text} has a bit that no file of a release has"
    return None
