"""Verification of ``provenance.intoto.jsonl``: its subjects are what SHA256SUMS lists, and it names this release.

Releases of before 0.3 have none. That it is signed follows from SHA256SUMS, which lists it.
"""

from typing import Any, Final

from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.io.untrusted import read_bytes
from danbooru_pipeline.release.provenance import PREDICATE, PROVENANCE, STATEMENT
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification

_LONGEST: Final = 64 * 2**20


def check_provenance(run: Verification) -> None:
    """Check the statement, if the release has one."""
    if PROVENANCE not in run.sums or not run.is_readable(PROVENANCE):
        return
    with run.reading(Kind.PROVENANCE_DIFFERS, PROVENANCE):
        said = parse(read_bytes(run.folder, PROVENANCE, limit=_LONGEST))
        if (said.get("_type"), said.get("predicateType")) != (STATEMENT, PREDICATE):
            run.add(Kind.PROVENANCE_DIFFERS, PROVENANCE, "is no statement of provenance")
            return
        _check_subjects(run, {each["name"]: each["digest"]["sha256"] for each in said["subject"]})
        _check_release(run, said["predicate"]["buildDefinition"])


def _check_subjects(run: Verification, subjects: dict[str, str]) -> None:
    for name in sorted((subjects.keys() ^ run.sums.keys()) - {PROVENANCE}):
        where = "SHA256SUMS" if name in subjects else "its subjects"
        run.add(Kind.PROVENANCE_DIFFERS, PROVENANCE, f"{name} is not in {where}")
    for name in sorted(subjects.keys() & run.sums.keys()):
        if subjects[name] != run.sums[name]:
            run.add(Kind.PROVENANCE_DIFFERS, PROVENANCE, f"the digest of {name} is not that of SHA256SUMS")


def _check_release(run: Verification, built: dict[str, Any]) -> None:
    release = run.release
    if release is None:
        return
    digests = {each["name"]: each["digest"] for each in built["resolvedDependencies"]}
    compared = {
        "release": (built["externalParameters"].get("release"), release.name),
        "version": (built["externalParameters"].get("version"), release.version),
        "options": (built["externalParameters"].get("options"), release.options),
        "image_settings": (built["internalParameters"].get("image_settings"), release.image_settings),
        "sources": (built["internalParameters"].get("sources"), release.sources),
        "manifest": (digests.get("manifest"), {"sha256": release.inputs.manifest}),
        "posts": (digests.get("posts"), {"sha256": release.inputs.posts}),
        "commit": (digests.get(release.tool.name, {}).get("gitCommit"), release.tool.commit),
    }
    for name, (said, known) in compared.items():
        if said != known:
            run.add(Kind.PROVENANCE_DIFFERS, PROVENANCE, f"{name} is not what RELEASE.json says")
