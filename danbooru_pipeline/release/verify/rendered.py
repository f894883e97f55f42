"""Verification of documents, scripts and pages by making them again: what follows from the release must be what it has.

Only the code that made a release writes its words, so another version leaves them unchecked, and says so.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import duckdb

from danbooru_pipeline.io.untrusted import read_bytes
from danbooru_pipeline.release.checksums import ARCHIVE
from danbooru_pipeline.release.documents.browser import browser_files
from danbooru_pipeline.release.documents.options import options_from
from danbooru_pipeline.release.documents.page import Sample
from danbooru_pipeline.release.documents.render import rendered
from danbooru_pipeline.release.documents.values import document_values
from danbooru_pipeline.release.release_json import Release, Tool
from danbooru_pipeline.release.signing import allowed_signers
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import ALLOWED_SIGNERS, PAGE, RELEASE_JSON, changes_path
from danbooru_pipeline.version import version

_LONGEST: Final = 64 * 2**20
#: A sample of the page. Its picture is not compared: other versions of a decoder make other bytes.
_SAMPLE: Final = re.compile(r'<a href="([^"]+)"><img src="(data:image/jpeg;base64,[A-Za-z0-9+/]+={0,2})"')
#: What counting may lack on the machine that verifies; the release is not to blame.
_LACKS: Final = (MemoryError, duckdb.OutOfMemoryException, duckdb.IOException)


def check_rendered(run: Verification) -> None:
    """Compare them byte for byte, where this very code made the release."""
    release = run.release
    if release is None:
        return
    if not _is_this_code(release.tool):
        made, ours = f"{release.tool.name} {release.tool.version}", version().number
        run.found.unchecked.append(
            f"the words of documents, scripts and pages were not compared: {made} wrote them, and this is {ours}; "
            "verify with that version, or trust the signature"
        )
        return
    told = {finding.where for finding in run.found.kept}
    with run.reading(Kind.PAPER_DIFFERS, RELEASE_JSON, "documents cannot be made from it"):
        try:
            for name, data in _made_again(run, release):
                if name not in told and run.sums.get(name) != hashlib.sha256(data).hexdigest():
                    run.add(Kind.PAPER_DIFFERS, name, "is not what the code that made this release writes")
        except _LACKS as error:
            lacking = str(error).partition("\n")[0] or type(error).__name__
            run.found.unchecked.append(
                f"the words of documents, scripts and pages were not all compared: {lacking}; use a larger machine"
            )


def _is_this_code(tool: Tool) -> bool:
    """Whether a release says that this very code made it. A number without a commit stands for many states of code."""
    code = version()
    return code.commit is not None and (tool.version, tool.commit) == (code.number, code.commit)


def _made_again(run: Verification, release: Release) -> Iterator[tuple[str, bytes]]:
    options = options_from(release.options)
    if options.signer:
        yield ALLOWED_SIGNERS, allowed_signers(options.signer)
    yield from browser_files(run.folder, release)
    values = document_values(run.folder, release, options, labels=_labels(run.sums), threads=run.threads)
    samples = _samples(run, values)
    yield from rendered(run.folder, release, values, archive=run.sums[ARCHIVE], samples=samples)


def _labels(names: Iterable[str]) -> list[str]:
    """Labels of the lists of changes that a release has: from years, the newest first, then from a version."""
    before, after = changes_path("|", "md").split("|")
    found = {name[len(before) : -len(after)] for name in names if name.startswith(before) and name.endswith(after)}
    return sorted(sorted(found, reverse=True), key=lambda label: "." in label)


def _samples(run: Verification, values: dict[str, Any]) -> list[Sample]:
    """The samples that the page should show, with the pictures that it shows; one that it lacks could not be read."""
    shown = dict(_SAMPLE.findall(read_bytes(run.folder, PAGE, limit=_LONGEST).decode()))
    return [Sample(id_, path, shown[path]) for id_, path in values["stats"].samples if path in shown]
