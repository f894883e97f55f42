"""``provenance.intoto.jsonl``: an in-toto statement with SLSA's predicate of provenance, one line of JSON.

Its subjects are all documents of the release with their SHA-256, the lists of the images' checksums among them; its
predicate names the code, the settings, the sources and the inputs with their digests. SHA256SUMS lists it, so the
signature of SHA256SUMS covers it as it covers the rest: there is one key and one signature.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.release.release_json import Release, ReleaseRef

PROVENANCE: Final = "provenance.intoto.jsonl"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
_URN: Final = "urn:danbooru-pipeline"


def write_provenance(folder: Path, release: Release, documents: Mapping[str, str]) -> str:
    """Write the statement of a release whose other documents have these digests. Returns its own SHA-256."""
    data = json.dumps(statement(release, documents), ensure_ascii=False).encode() + b"\n"
    write_atomic(folder / PROVENANCE, data)
    return hashlib.sha256(data).hexdigest()


def statement(release: Release, documents: Mapping[str, str]) -> dict[str, Any]:
    """The statement, with everything that follows from RELEASE.json and the digests."""
    subjects = [
        {"name": name, "digest": {"sha256": sha256}} for name, sha256 in documents.items() if name != PROVENANCE
    ]
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"{_URN}:build:release:v1",
                "externalParameters": {
                    "release": release.name,
                    "version": release.version,
                    "cutoff": release.cutoff,
                    "options": release.options,
                },
                "internalParameters": {"image_settings": release.image_settings, "sources": release.sources},
                "resolvedDependencies": list(_dependencies(release)),
            },
            "runDetails": {
                "builder": {"id": f"{_URN}:builder", "version": {release.tool.name: release.tool.version}},
                "metadata": {
                    "invocationId": f"{_URN}:release:{release.name}:{release.version}:{release.created_at}",
                    "finishedOn": release.created_at,
                },
            },
        },
    }


def _dependencies(release: Release) -> list[dict[str, Any]]:
    """What the release was made from: code, manifest, posts, side tables, and the releases that it continues."""
    found = [_digested("manifest", release.inputs.manifest), _digested("posts", release.inputs.posts)]
    found += [_digested(f"tables/{name}", digest) for name, digest in sorted(release.inputs.side_tables.items())]
    found += [_earlier(ref) for ref in (release.previous, release.replaces) if ref is not None]
    if release.tool.commit:
        code = {"name": release.tool.name, "uri": f"pkg:pypi/{release.tool.name}@{release.tool.version}"}
        found.append(code | {"digest": {"gitCommit": release.tool.commit}})
    return found


def _digested(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}


def _earlier(ref: ReleaseRef) -> dict[str, Any]:
    uri = f"{_URN}:release:{ref.name}:{ref.version}"
    return _digested(f"{ref.name}/SHA256SUMS", ref.sha256sums_sha256) | {"uri": uri, "annotations": asdict(ref)}
