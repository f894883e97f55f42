"""Releases: the manifest that reconciles posts with files, the snapshot that ships them, and verification.

A release is made by `write_manifest`, `plan_snapshot`, `apply_snapshot` and `flip_current`, in this order;
`verify_release` needs nothing but its folder. No network and no clock: the time of making is an argument.
"""

from danbooru_pipeline.lazy import names_of

#: As `typing.TYPE_CHECKING`, whose import alone takes milliseconds.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from danbooru_pipeline.release.documents.options import DocumentOptions
    from danbooru_pipeline.release.manifest.reconcile import reconcile_bucket
    from danbooru_pipeline.release.manifest.row import MANIFEST_SCHEMA, ManifestRow
    from danbooru_pipeline.release.manifest.summary import ManifestSummary
    from danbooru_pipeline.release.manifest.write import read_summary, write_manifest
    from danbooru_pipeline.release.publish import flip_current, require_decision
    from danbooru_pipeline.release.reconstruct import Reconstruction, write_reconstruction
    from danbooru_pipeline.release.release_json import Release, ReleaseRef, published, read_release
    from danbooru_pipeline.release.takedown.run import TakedownPlan, apply_takedown, plan_takedown
    from danbooru_pipeline.release.tree.jsonl import write_posts_jsonl
    from danbooru_pipeline.release.tree.plan import Action, SnapshotPlan
    from danbooru_pipeline.release.tree.snapshot import apply_snapshot, plan_snapshot
    from danbooru_pipeline.release.verify.findings import Finding, Kind, VerifyReport
    from danbooru_pipeline.release.verify.run import verify_release
else:
    __getattr__ = names_of(
        __name__,
        {
            "documents.options": "DocumentOptions",
            "manifest.reconcile": "reconcile_bucket",
            "manifest.row": "MANIFEST_SCHEMA ManifestRow",
            "manifest.summary": "ManifestSummary",
            "manifest.write": "read_summary write_manifest",
            "publish": "flip_current require_decision",
            "reconstruct": "Reconstruction write_reconstruction",
            "release_json": "Release ReleaseRef published read_release",
            "takedown.run": "TakedownPlan apply_takedown plan_takedown",
            "tree.jsonl": "write_posts_jsonl",
            "tree.plan": "Action SnapshotPlan",
            "tree.snapshot": "apply_snapshot plan_snapshot",
            "verify.findings": "Finding Kind VerifyReport",
            "verify.run": "verify_release",
        },
    )

__all__ = [
    "MANIFEST_SCHEMA",
    "Action",
    "DocumentOptions",
    "Finding",
    "Kind",
    "ManifestRow",
    "ManifestSummary",
    "Reconstruction",
    "Release",
    "ReleaseRef",
    "SnapshotPlan",
    "TakedownPlan",
    "VerifyReport",
    "apply_snapshot",
    "apply_takedown",
    "flip_current",
    "plan_snapshot",
    "plan_takedown",
    "published",
    "read_release",
    "read_summary",
    "reconcile_bucket",
    "require_decision",
    "verify_release",
    "write_manifest",
    "write_posts_jsonl",
    "write_reconstruction",
]
