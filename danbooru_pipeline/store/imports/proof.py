"""Judges one candidate: whether it is the post's file, by what, and the ledger row that follows.

Proofs, in this order: the SHA-256 of a release's manifest, the MD5 of the metadata, the pixel hash that the site
publishes. A name proves nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.images import ImageJob, ImageResult
from danbooru_pipeline.images.inspect import ImageFacts, compare_extension
from danbooru_pipeline.images.pixel_hash import HASHED_TYPES, is_shown_as_hashed
from danbooru_pipeline.images.png import has_hidden_data
from danbooru_pipeline.images.words import Flag
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.columns import Origin, values_from, with_tuples
from danbooru_pipeline.store.imports.candidates import Candidate, Identity, Px512Candidate, examine
from danbooru_pipeline.store.ledger import LEDGER_COLUMNS, LedgerRow

#: The site hashes pictures of 16 bits after it has cut them to 8, so equality says nothing of the lower ones.
_DEEP: Final = frozenset({"rgb16", "grey16"})
_STILL: Final = HASHED_TYPES | {"jpeg"}


class Outcome(StrEnum):
    """What became of a candidate."""

    SHA256 = "sha256"
    MD5 = "md5"
    PIXEL_HASH = "pixel_hash"
    PRESENT = "present"
    UNPROVEN = "unproven"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement of a candidate.

    Attributes:
        sha256: of the candidate's bytes; None if it could not be read.
        facts: values of the ledger row that describes it. None where a build finds out by itself: it adopts a file by
            its MD5, and optimises it.
        px512: its 512px image, or why there is none, if the manifest's SHA-256 proves that and the release was made
            with our settings.
        seen: what the file was when it was read.
    """

    candidate: Candidate
    outcome: Outcome
    sha256: str | None = None
    facts: Mapping[str, Any] | None = None
    px512: Px512Candidate | None = None
    seen: Identity | None = None


def judge(context: RunContext, candidate: Candidate) -> Judged:
    """Judge a candidate. Safe for threads; changes nothing."""
    fetch, said = candidate.fetch, candidate.facts
    try:
        read = examine(candidate.path)
        judged = partial(Judged, candidate, sha256=read.sha256, seen=read.identity)
        if said is not None and read.sha256 == said["sha256"]:
            facts = with_tuples({**said, "reason": _reason(fetch, said["fetched_md5"])})
            return judged(Outcome.SHA256, facts=facts, px512=_proven_px512(context, candidate))
        if read.md5 == fetch.md5 and candidate.ext == fetch.ext:
            return judged(Outcome.MD5)
        proven = _proven_by_pixels(context, candidate, md5=read.md5, sha256=read.sha256)
    except OSError:
        return Judged(candidate, Outcome.UNREADABLE)
    return judged(Outcome.UNPROVEN if proven is None else Outcome.PIXEL_HASH, facts=proven)


def _proven_by_pixels(context: RunContext, candidate: Candidate, *, md5: str, sha256: str) -> dict[str, Any] | None:
    """What is known of a file that its pixels prove; None if they do not."""
    fetch = candidate.fetch
    if fetch.pixel_hash is None or fetch.ext not in _STILL or candidate.ext != fetch.ext:
        return None
    result = context.images.submit(ImageJob(source=candidate.path, settings=context.image_settings)).result()
    if (
        result.facts is None
        or (result.pixel_hash, result.sha256) != (fetch.pixel_hash, sha256)
        or result.facts.color_space in _DEEP
    ):
        return None
    facts = _facts_of(fetch, result, result.facts, md5=md5)
    return facts if not facts["optimized"] or _is_optimized(candidate, result, tuple(facts["flags"])) else None


def _is_optimized(candidate: Candidate, result: ImageResult, flags: Sequence[str]) -> bool:
    """Whether a file with the post's pixels can be what a lossless optimiser made of the source, and shows them.

    An optimiser makes a file smaller, keeps its type, and leaves nothing odd: no data after the end, no broken part, no
    animation, no kind of JPEG that few decoders know. The source itself may have all of that.
    """
    said = candidate.fetch.file_size
    if result.facts is None or flags or (said is not None and result.size >= said):
        return False
    data = candidate.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != result.sha256 or (result.facts.file_type == "png" and has_hidden_data(data)):
        return False
    return is_shown_as_hashed(data, result.facts)


def _proven_px512(context: RunContext, candidate: Candidate) -> Px512Candidate | None:
    found = candidate.px512
    if found is None or found.facts["px512_settings"] != context.image_settings.fingerprint():
        return None
    if found.path is None:
        return found
    try:
        read = examine(found.path)
    except OSError:
        return None
    return replace(found, seen=read.identity) if read.sha256 == found.sha256 else None


def _facts_of(fetch: Fetch, result: ImageResult, facts: ImageFacts, *, md5: str) -> dict[str, Any]:
    """What is known of a file that its pixels prove. Its source's MD5 and size are not, as something optimised it.

    Where the hash is the MD5 of the very bytes, they are the source's, and the metadata has the wrong MD5.
    """
    is_source = result.pixel_hash == md5
    flags = tuple(flag for flag in facts.flags if flag != Flag.WRONG_EXTENSION)
    return {
        **values_from(result, Origin.RESULT, LEDGER_COLUMNS),
        **values_from(compare_extension(replace(facts, flags=flags), fetch.ext), Origin.FILE, LEDGER_COLUMNS),
        "optimized": not is_source,
        "fetched_md5": md5 if is_source else None,
        "source_size": result.size if is_source else None,
        "reason": _reason(fetch, md5 if is_source else None),
    }


def _reason(fetch: Fetch, fetched_md5: str | None) -> Reason | None:
    if fetched_md5 is not None and fetched_md5 != fetch.md5:
        return Reason.MD5_DIFFERS
    return Reason.REPLACED if fetch.replaced else None


def row_of(
    context: RunContext, judged: Judged, known: LedgerRow | None, *, year: int, px512: Mapping[str, Any]
) -> LedgerRow:
    """The ledger row of a file that was taken, with what is known of its 512px image."""
    fetch, facts = judged.candidate.fetch, dict(judged.facts or {})
    stored_ext = None if judged.candidate.ext == fetch.ext else judged.candidate.ext
    first = [year, facts.pop("first_release", None), known.first_release if known else None]
    return LedgerRow(
        id=fetch.id,
        md5=fetch.md5,
        ext=fetch.ext,
        source_pixel_hash=fetch.pixel_hash,
        attempts=known.attempts if known is not None and known.md5 == fetch.md5 else 0,
        fetched_at=context.now(),
        first_release=min(each for each in first if each is not None),
        **with_tuples({**facts, **px512, "stored_ext": stored_ext}),
    )
