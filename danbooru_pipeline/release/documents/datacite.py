"""``datacite.json``: the release in DataCite's metadata schema 4.5, ready for whoever registers a DOI for it.

It has no DOI of its own: the archive that takes the release gives one.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from danbooru_pipeline.images.signature import MEDIA_TYPES
from danbooru_pipeline.progress import counted, noun
from danbooru_pipeline.release.release_json import Release, ReleaseRef

if TYPE_CHECKING:
    from danbooru_pipeline.release.documents.statistics import Statistics

_SCHEMA: Final = "http://datacite.org/schema/kernel-4"
_ORIGINAL: Final = "https://gwern.net/danbooru2021"
_UNKNOWN: Final = "application/octet-stream"
_SUBJECTS: Final = ("illustration", "anime", "tags", "image classification", "machine learning")


def datacite(release: Release, values: Mapping[str, Any]) -> bytes:
    """Describe a release; `values` are those of the templates."""
    about = {
        "schemaVersion": _SCHEMA,
        "types": {"resourceType": "Image and tag dataset", "resourceTypeGeneral": "Dataset"},
        "titles": [{"title": f"{values['title']}: A Large-Scale Crowdsourced & Tagged Anime Illustration Dataset"}],
        "creators": [
            {"name": values["maker"], "nameType": "Organizational"},
            {"name": "Danbooru community", "nameType": "Organizational"},
        ],
        "publisher": {"name": values["maker"]},
        "publicationYear": values["day"][:4],
        "version": release.version,
        "language": "en",
        "subjects": [{"subject": subject} for subject in _SUBJECTS],
        "dates": [
            {"date": values["day"], "dateType": "Issued"},
            {"date": f"2005-05-24/{release.cutoff[:10]}", "dateType": "Coverage"},
        ],
        "sizes": [
            f"{release.bytes.originals + release.bytes.px512} B",
            f"{release.counts.posts} {noun(release.counts.posts, 'post')}",
        ],
        "formats": list(_formats(release, values)),
        # No licence covers the works; the notice says what applies.
        "rightsList": [{"rights": "The works belong to their artists; see NOTICE.md"}],
        "descriptions": [{"description": description_of(release, values), "descriptionType": "Abstract"}],
        "relatedIdentifiers": list(_related(release, values)),
        **({"url": values["address"]} if values["address"] else {}),
    }
    return msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n"


def _formats(release: Release, values: Mapping[str, Any]) -> Iterator[str]:
    """Media types of what the release has: its images and other originals, then its tables and archives."""
    numbers: Statistics = values["stats"]
    found = {MEDIA_TYPES.get(bar.name, _UNKNOWN) for bar in numbers.types}
    if release.counts.px512:
        found.add(MEDIA_TYPES["jpg"])
    yield from sorted(found)
    yield from ("application/vnd.apache.parquet", "application/x-ndjson", "application/x-xz")
    if values["shards"]:
        yield "application/x-tar"


def description_of(release: Release, values: Mapping[str, Any]) -> str:
    """What a release is, in one sentence."""
    return (
        f"{values['title']}: {counted(release.counts.posts, 'post')} of a booru with "
        f"{noun(release.counts.posts, 'its', 'their')} tags, {counted(release.counts.originals, 'original')} and "
        f"{counted(release.counts.px512, 'image of 512px', 'images of 512px')}."
    )


def _related(release: Release, values: Mapping[str, Any]) -> list[dict[str, str]]:
    refs = [ref for ref in (release.replaces, release.previous) if ref is not None]
    found = [_link(identifier_of(ref, values["url"]), "IsNewVersionOf") for ref in refs]
    return [*found, _link(_ORIGINAL, "IsDerivedFrom")]


def _link(identifier: str, relation: str) -> dict[str, str]:
    kind = "URN" if identifier.startswith("urn:") else "URL"
    return {"relatedIdentifier": identifier, "relatedIdentifierType": kind, "relationType": relation}


def identifier_of(ref: ReleaseRef, url: str) -> str:
    """How an earlier release is named: by its address where releases have one, and its version."""
    if url:
        return f"{url}/{ref.name}/#{ref.version}"
    return f"urn:danbooru-pipeline:release:{ref.name}:{ref.version}"
