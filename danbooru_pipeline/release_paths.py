"""Names and paths within a release, relative to its folder. `layout` builds all others.

A path is made from a year, a number and a name of ours; never from a URL, a tag or a header.
"""

import re

#: The name of a file of a table, as `parquet_path` and `manifest_path` make it: its table, its number, and of how many.
SHARD = re.compile(r"([a-z][a-z0-9_]*)-([0-9]{5})-of-([0-9]{5})\.parquet")


def metadata_path(year: int, table: str, shard: int) -> str:
    """``metadata/YEAR/TABLE000000000000.json``, relative to a release: the wildcard form of BigQuery's extracts."""
    return f"metadata/{year}/{table}{shard:012d}.json"


def old_metadata_path(year: int, shard: int) -> str:
    """``metadata/YEAR-old/YEAR000000000000.json``, relative to a release: posts in the dialect of 2017 to 2020.

    In a folder of its own, as the original had it: readers of either dialect take every file of theirs for posts.
    """
    return f"{old_metadata_folder(year)}/{year}{shard:012d}.json"


def old_metadata_folder(year: int) -> str:
    """``metadata/YEAR-old``, relative to a release."""
    return f"metadata/{year}-old"


def parquet_path(table: str, shard: int, *, of: int) -> str:
    """``parquet/TABLE-00000-of-00003.parquet``, relative to a release."""
    return f"parquet/{table}-{shard:05d}-of-{of:05d}.parquet"


def manifest_path(shard: int, *, of: int) -> str:
    """``manifest/files-00000-of-00003.parquet``, relative to a release."""
    return f"manifest/files-{shard:05d}-of-{of:05d}.parquet"


def earlier_manifest_path(year: int, name: str) -> str:
    """``earlier/2021/files-00000-of-00003.parquet``, relative to a later release, which carries the manifest of 2021.

    Not below ``manifest/``: whoever reads that folder as one table wants the rows of one release.
    """
    return f"earlier/{year}/{name}"


def checksums_path(tree: str, bucket: str) -> str:
    """``checksums/TREE/BUCKET.sha256``, relative to a release; `tree` is ``original`` or ``512px``."""
    return f"checksums/{tree}/{bucket}.sha256"


def changes_path(label: str, kind: str) -> str:
    """``changes/2022-from-2021.parquet``, relative to a release; `kind` is the part after the label."""
    return f"changes/{label}.{kind}"


#: The bitmaps of posts by tag and the like, and the table of what each is of, relative to a release.
INDEX = "index"
INDEX_BITMAPS = f"{INDEX}/bitmaps.roar"
INDEX_NAMES = f"{INDEX}/names.parquet"

#: With ``DANBOORU_WEBDATASET=on``: one tar per bucket, and the offsets of what is in it, relative to a release.
WEBDATASET, WEBDATASET_INDEX = "wds", "wds-index"

#: Names of tables of ours in ``parquet/``: of pairs of posts, and of vectors.
DUPLICATES = "duplicates"
TAG_VECTORS = "tag_vectors"
POST_VECTORS = "post_vectors"

#: The page that searches and shows a release, and the file that names the tables for it, relative to a release.
BROWSE = "browse"
BROWSE_RELEASE = f"{BROWSE}/release.json"

#: What people decided about tags, and the folder of the posts as corrected by that, relative to a release.
CORRECTIONS = "corrections/corrections-00000-of-00001.parquet"
CORRECTED = "parquet-corrected"


def corrected_path(table: str, shard: int, *, of: int) -> str:
    """The same as `parquet_path`, of a table as it was corrected."""
    return f"{CORRECTED}/{table}-{shard:05d}-of-{of:05d}.parquet"


#: The text that tells of a release, relative to it.
ANNOUNCEMENT = "ANNOUNCEMENT.txt"

#: Documents that are a rendered template, and those that are made otherwise, relative to a release.
TEXTS = (
    *("README.md", "DATASHEET.md", "NOTICE.md", "CHANGELOG.md", "CITATION.cff", "citation.bib"),
    *("rsyncd.conf", "mirror.sh", "verify.sh", ANNOUNCEMENT, "feed.atom"),
)
CROISSANT, DATACITE, PAGE = "croissant.json", "datacite.json", "index.html"

#: ``RELEASE.json``, relative to a release: written last, so a tree without it is not a release.
RELEASE_JSON = "RELEASE.json"

#: What lists every other document of a release with its SHA-256, its signature, and the keys that may have signed it.
SHA256SUMS, SIGNATURE, ALLOWED_SIGNERS = "SHA256SUMS", "SHA256SUMS.sig", "allowed_signers"

#: ``removed.txt``, relative to a release: the ids of posts that were taken down, one a line.
REMOVED = "removed.txt"

#: ``removals.jsonl``, relative to a release: the same ids, each with the version from which its post is gone.
REMOVALS = "removals.jsonl"

#: ``metadata``, relative to a release or to the root.
METADATA = "metadata"


#: The name of a file of metadata that an archive brings of an earlier year, which is kept as it is; a pattern.
CARRIED_METADATA = r"[a-z0-9_]{1,80}\.json"


def metadata_folder(year: int) -> str:
    """``metadata/YEAR``, relative to a release or to the root."""
    return f"{METADATA}/{year}"


def release_name(year: int) -> str:
    """Name of a release, and of its folder."""
    return f"danbooru{year}"
