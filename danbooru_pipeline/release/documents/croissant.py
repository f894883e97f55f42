"""``croissant.json``: the release in MLCommons Croissant 1.1, for tools that find and load datasets through it.

It describes image files only by their folder; tools load the Parquet tables. Only single files have checksums here:
SHA256SUMS has the rest, and Croissant's readers do not check them for sets of files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.progress import counted
from danbooru_pipeline.release.checksums import ARCHIVE
from danbooru_pipeline.release.documents.datacite import description_of
from danbooru_pipeline.release.documents.wording import missing
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release_paths import DUPLICATES, POST_VECTORS, TAG_VECTORS

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

#: Table -> what a row is; all others are of the site.
_ROWS = {
    "posts": "One row per post: its tags, rating, score, source and times.",
    "files": "One row per post: its file, its 512px image, or the reasons why not.",
    TAG_COUNTS: "One row per tag and category: how many posts of the release have it, by rating.",
    DUPLICATES: "One row per pair of posts that show the same picture, or nearly: how they differ, and by how much.",
    TAG_VECTORS: "One row per tag of 20 posts or more: a vector learned from which tags go together, and the nearest.",
    POST_VECTORS: "One row per post: a vector learned from its tags.",
}


def croissant(folder: Path, release: Release, values: Mapping[str, Any], *, archive: str) -> bytes:
    """Describe a release whose tables are written; `archive` is the SHA-256 of its metadata's archive."""
    tables: Mapping[str, str] = values["tables"]
    about = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": release.name,
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "description": description_of(release, values),
        "creator": {"@type": "Organization", "name": values["maker"]},
        "citeAs": values["citation"],
        # No licence covers the works; the notice says what applies.
        "license": f"{values['address']}NOTICE.md",
        **({"url": values["address"]} if values["address"] else {}),
        "version": f"{release.version}.0",
        "datePublished": values["day"],
        "isLiveDataset": False,
        **_responsible(release, values),
        "distribution": [_archive(folder, archive), *(_file_set(name, pattern) for name, pattern in tables.items())],
        "recordSet": [_record_set(folder, name, pattern) for name, pattern in tables.items()],
    }
    return msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n"


def _responsible(release: Release, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the vocabulary for responsible AI asks about; the datasheet says the same at greater length."""
    read = "; ".join(f"{source.where}, on {source.day}" for source in values["sources"])
    lacking = ", ".join(f"{bar.name} {bar.count:,}" for bar in missing(release, "original"))
    return {
        "rai:dataCollection": f"Posts were read from {read or 'an unknown source'}; files come from the booru's host.",
        "rai:dataCollectionType": [
            "Web Scraping" if any(s.get("name") == "api" for s in release.sources) else "Secondary Data Analysis"
        ],
        "rai:dataCollectionMissingData": (
            f"{counted(release.counts.posts - release.counts.originals, 'post has', 'posts have')} no original"
            f"{f' ({lacking})' if lacking else ''}. A tag that is absent may simply be missing."
        ),
        "rai:dataPreprocessingProtocol": [
            *values["preprocessing"],
            "512px images are shrunk with their aspect kept, and centred on a background.",
        ],
        "rai:dataAnnotationProtocol": ["Users of the booru add and correct tags; uploaders choose the rating."],
        "rai:dataBiases": ["What is uploaded and tagged follows the interests of the booru's users."],
        "rai:dataLimitations": ["Ratings are sometimes wrong; images selected by rating are not safe for children."],
        "rai:dataUseCases": ["Image classification and tagging", "retrieval", "representation learning", "generation"],
        "rai:personalSensitiveInformation": ["Some images are explicit. Some are drawings of real people."],
        "rai:dataReleaseMaintenancePlan": "A release a year, and patch versions with corrections and removals.",
    }


def _archive(folder: Path, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": ARCHIVE,
        "name": ARCHIVE,
        "description": "The metadata of all years as JSON lines.",
        "contentUrl": ARCHIVE,
        "encodingFormat": "application/x-xz",
        "contentSize": f"{(folder / ARCHIVE).stat().st_size} B",
        "sha256": sha256,
    }


def _file_set(name: str, pattern: str) -> dict[str, Any]:
    # Without `containedIn`: with it, the description validates but its tables cannot be loaded.
    return {
        "@type": "cr:FileSet",
        "@id": f"{name}-parquet",
        "name": f"{name}-parquet",
        "encodingFormat": "application/x-parquet",
        "includes": pattern,
    }


def _record_set(folder: Path, name: str, pattern: str) -> dict[str, Any]:
    schema = pq.read_schema(next(iter(sorted(folder.glob(pattern)))))
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": _ROWS.get(name, f"The side table {name} of the site."),
        **({"key": {"@id": f"{name}/id"}} if "id" in schema.names else {}),
        # Croissant has no simple type for bytes, nor for a list of objects, whose names and categories other columns
        # repeat.
        "field": [_field(name, field) for field in schema if not _lacks_a_type(field.type)],
    }


def _lacks_a_type(kind: pa.DataType) -> bool:
    is_list_of_objects = pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)
    return bool(is_list_of_objects or pa.types.is_fixed_size_binary(kind))


def _field(table: str, field: pa.Field) -> dict[str, Any]:
    repeated = pa.types.is_list(field.type)
    return {
        "@type": "cr:Field",
        "@id": f"{table}/{field.name}",
        "name": field.name,
        "dataType": _data_type(field.type.value_type if repeated else field.type),
        **({"repeated": True} if repeated else {}),
        "source": {"fileSet": {"@id": f"{table}-parquet"}, "extract": {"column": field.name}},
    }


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    return "sc:DateTime" if pa.types.is_timestamp(kind) else "sc:Text"
