"""What became of a post's file: a status, and a reason from a closed list.

The ledger, the manifest, the counters in Dagster and the docs all use these two enums and nothing else.
"""

from enum import StrEnum


class Status(StrEnum):
    """State of a post's original, or of its 512px image."""

    OK = "ok"
    MISSING = "missing"
    WITHHELD = "withheld"
    REMOVED = "removed"
    QUARANTINED = "quarantined"
    PENDING = "pending"
    SKIPPED = "skipped"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a row has the status it has. Each reason belongs to one status; `status_of` says which."""

    # originals
    MD5_DIFFERS = "md5_differs"
    REPLACED = "replaced"
    GONE = "gone"
    RESTRICTED = "restricted"
    BANNED = "banned"
    EXCLUDED_TAG = "excluded_tag"
    TAGS_UNKNOWN = "tags_unknown"
    EXPUNGED = "expunged"
    BAD_ROW = "bad_row"
    TOO_LARGE = "too_large"
    MD5_MISMATCH = "md5_mismatch"
    TRUNCATED = "truncated"
    HTML_INSTEAD = "html_instead"
    EMPTY = "empty"
    REFUSED = "refused"
    REDIRECTED = "redirected"
    RETRY_EXHAUSTED = "retry_exhausted"
    DISK_FULL = "disk_full"
    # 512px images
    RATING = "rating"
    NO_ORIGINAL = "no_original"
    NOT_AN_IMAGE = "not_an_image"
    ANIMATED = "animated"
    DAMAGED = "damaged"
    UNDECODABLE = "undecodable"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_SCANS = "too_many_scans"
    WORKER_CRASHED = "worker_crashed"
    WORKER_TIMEOUT = "worker_timeout"


#: reason -> (status, what it means). The README's table is rendered from here.
REASONS: dict[Reason, tuple[Status, str]] = {
    Reason.MD5_DIFFERS: (
        Status.OK,
        "The server sent the same complete file twice, but its MD5 is not the one in the metadata; kept and flagged.",
    ),
    Reason.REPLACED: (
        Status.OK,
        "The file was replaced upstream after the metadata was exported; file and metadata row are the new ones.",
    ),
    Reason.GONE: (Status.MISSING, "The server says that the file does not exist (404 or 410)."),
    Reason.RESTRICTED: (Status.WITHHELD, "The source shows this post without its MD5, as it does with hidden ones."),
    Reason.BANNED: (Status.WITHHELD, "The post is banned upstream; new releases leave its file out."),
    Reason.EXCLUDED_TAG: (Status.WITHHELD, "The post has a tag of the operator's DANBOORU_EXCLUDE_TAGS."),
    Reason.TAGS_UNKNOWN: (
        Status.WITHHELD,
        "The row lacks its tags, or some of them, so it may have one of the operator's DANBOORU_EXCLUDE_TAGS.",
    ),
    Reason.EXPUNGED: (
        Status.REMOVED,
        "The year's sweep has this post, and the source no longer does; posts gone before it are not in the manifest.",
    ),
    Reason.BAD_ROW: (
        Status.QUARANTINED,
        "The row has an MD5, extension or size that no file has, or an MD5, tags or a ban that cannot be understood.",
    ),
    Reason.TOO_LARGE: (Status.QUARANTINED, "The server sends more bytes than the metadata declares."),
    Reason.MD5_MISMATCH: (
        Status.PENDING,
        "The bytes do not match the MD5, and are damaged or differ between attempts.",
    ),
    Reason.TRUNCATED: (
        Status.PENDING,
        "The server stops before the end of the file, or sends it too slowly.",
    ),
    Reason.HTML_INSTEAD: (Status.PENDING, "The server answers with a web page instead of the file."),
    Reason.EMPTY: (Status.PENDING, "The server answers without a single byte."),
    Reason.REFUSED: (Status.PENDING, "The server refuses this file (401, 403 or 451), though not others."),
    Reason.REDIRECTED: (
        Status.PENDING,
        "The server redirects to another host, or in a loop.",
    ),
    Reason.RETRY_EXHAUSTED: (
        Status.PENDING,
        "Every attempt failed at the server or in the network; an answer such as 400 or 418 is not retried.",
    ),
    Reason.DISK_FULL: (Status.PENDING, "The disk of the root had no space or no inodes left for this file."),
    Reason.RATING: (Status.SKIPPED, "The post's rating is not one of the release's SFW ratings."),
    Reason.NO_ORIGINAL: (Status.SKIPPED, "There is no original to make a 512px image from."),
    Reason.NOT_AN_IMAGE: (Status.SKIPPED, "The file is a video, an archive, a Flash file or a document."),
    Reason.ANIMATED: (Status.SKIPPED, "The image has more than one frame."),
    Reason.DAMAGED: (
        Status.FAILED,
        "The image is truncated or corrupt; a 512px image would show it wrongly.",
    ),
    Reason.UNDECODABLE: (Status.FAILED, "The decoder refuses the file."),
    Reason.UNSUPPORTED_FORMAT: (
        Status.FAILED,
        "The file is a picture in a format that no release has: HEIC, JPEG XL, TIFF or another.",
    ),
    Reason.TOO_MANY_PIXELS: (
        Status.FAILED,
        "Width times height exceeds the pixel limit, or a side beyond the decoder's limit; the file was not decoded.",
    ),
    Reason.TOO_MANY_SCANS: (
        Status.FAILED,
        "The JPEG has so many scans that decoding it would take minutes; it was not decoded.",
    ),
    Reason.WORKER_CRASHED: (Status.FAILED, "The worker process died on this image, twice."),
    Reason.WORKER_TIMEOUT: (Status.FAILED, "The worker process exceeded the time limit on this image."),
}

#: Outcomes without a file that `--recheck` asks about again. A full disk and an excluded tag are not the source's
#: doing.
RECHECKABLE: frozenset[Reason] = frozenset(
    reason
    for reason, (status, _) in REASONS.items()
    if status in {Status.MISSING, Status.WITHHELD, Status.REMOVED, Status.QUARANTINED, Status.PENDING}
) - {Reason.DISK_FULL, Reason.EXCLUDED_TAG}
RECHECK_NAMES: tuple[str, ...] = tuple(sorted(RECHECKABLE))


def parse_recheck(text: str) -> frozenset[Reason]:
    """``gone,refused`` or ``all``, as reasons; none of an empty text.

    Raises:
        ValueError: a name is not that of an outcome that can be asked about again.
    """
    names = {name.strip() for name in text.split(",")} - {""}
    if names == {"all"}:
        return RECHECKABLE
    unknown = sorted(names - RECHECKABLE)
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: not a reason to ask again; give all, or some of {', '.join(RECHECK_NAMES)}"
        )
    return frozenset(Reason(name) for name in names)


def status_of(reason: Reason | None) -> Status:
    """The status that a reason belongs to; no reason means ok."""
    return Status.OK if reason is None else REASONS[reason][0]
