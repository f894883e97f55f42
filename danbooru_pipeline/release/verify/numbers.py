"""Verification of RELEASE.json: what the checksums cover is what it says, and each number that can be counted again."""

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.io.untrusted import read_bytes
from danbooru_pipeline.layout import SHA256_FORM
from danbooru_pipeline.release.manifest.summary import ManifestSummary
from danbooru_pipeline.release.release_json import (
    CONTENT,
    LONGEST,
    Event,
    Release,
    ReleaseRef,
    TagStatistics,
    instant_text,
    is_instant,
    named_in,
    read_text,
    text_of,
)
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release.tables.tag_totals import TagTally
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import tables_in
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import RELEASE_JSON, metadata_path, release_name
from danbooru_pipeline.years import cutoff, sfw_ratings

_DIGEST = re.compile(SHA256_FORM)
_VERSION = re.compile(r"([1-9]\d{3})\.(0|[1-9]\d{0,5})")
_MARK = "sha256sums_sha256"


def check_content(run: Verification) -> bool:
    """Check RELEASE.json against its content in SHA256SUMS. Returns whether that list, and its signature, cover it.

    They do not in releases of before 0.3, nor in a tree that has no RELEASE.json yet.
    """
    if CONTENT not in run.sums:
        return False
    if run.published and run.is_readable(CONTENT):
        with run.reading(Kind.RELEASE_NUMBERS, RELEASE_JSON, f"cannot be compared with {CONTENT}"):
            text, content = read_text(run.folder), read_bytes(run.folder, CONTENT, limit=LONGEST)
            # Not the text without its mark: elsewhere that line may stand for another key, and in another object.
            if run.release is None or text != text_of(content, run.release.sha256sums_sha256):
                for wrong in _differing(parse(text), parse(content)):
                    run.add(Kind.RELEASE_NUMBERS, RELEASE_JSON, f"{wrong} what {CONTENT} says")
    return True


def _differing(said: dict[str, Any], listed: dict[str, Any]) -> Iterator[str]:
    """What to say of two documents whose bytes differ."""
    keys = sorted(key for key in (said.keys() | listed.keys()) - {_MARK} if said.get(key) != listed.get(key))
    yield from (f"{key} is not" for key in keys)
    if not keys:  # null for a key that is not there, 0 for false, or another form: other readers may see a difference
        yield "is not, byte for byte,"


def check_numbers(run: Verification, numbers: ManifestSummary, tags: TagTally | None, removed: set[int] | None) -> None:
    """Check RELEASE.json against the manifest, the posts, and the list of posts that were taken down."""
    release = run.release
    if release is None:
        return
    for name, said, counted in _compared(release, numbers):
        if said != counted:
            run.add(Kind.RELEASE_NUMBERS, RELEASE_JSON, f"{name} is {said}, and should be {counted}")
    if removed is not None and release.taken_down != len(removed):
        said = f"taken_down is {release.taken_down}, but removed.txt has {len(removed)} ids"
        run.add(Kind.RELEASE_NUMBERS, RELEASE_JSON, said)
    for table, digest in release.inputs.side_tables.items():
        name = metadata_path(release.year, table, 0)
        if run.sums.get(name) not in {None, digest}:
            run.add(Kind.RELEASE_NUMBERS, RELEASE_JSON, f"inputs.side_tables.{table} is not the SHA-256 of {name}")
    # Releases of before 0.3 have no such content; their makers went by the clock, wherever it was.
    backwards = _backwards(release) if CONTENT in run.sums else ()
    for wrong in (*_references(release), *backwards):
        run.add(Kind.RELEASE_NUMBERS, RELEASE_JSON, wrong)
    if tags is not None:
        _check_tags(run, release, tags)


def _compared(release: Release, numbers: ManifestSummary) -> Iterator[tuple[str, object, object]]:
    """Name, what RELEASE.json says, what it should say."""
    year = release.year if 1 <= release.year <= 9999 else 1
    yield "name", release.name, release_name(year)
    yield "year in version", release.version.partition(".")[0], str(year)
    yield "cutoff", release.cutoff, instant_text(cutoff(year))
    yield "sfw_ratings", release.sfw_ratings, list(sfw_ratings(year))
    yield "last_id", release.last_id, numbers.last_id
    yield "counts.posts", release.counts.posts, numbers.posts
    yield "counts.originals", release.counts.originals, numbers.originals
    yield "counts.px512", release.counts.px512, numbers.px512
    yield "counts.pending", release.counts.pending, numbers.pending
    yield "bytes.originals", release.bytes.originals, numbers.originals_bytes
    yield "bytes.px512", release.bytes.px512, numbers.px512_bytes
    yield "bytes.saved", release.bytes.saved, numbers.saved_bytes
    yield "reasons", release.reasons, numbers.reasons
    rejected = [source["rejected"] for source in release.sources if isinstance(source.get("rejected"), int)]
    if rejected:
        yield "counts.rejected", release.counts.rejected, sum(rejected)


def _check_tags(run: Verification, release: Release, tags: TagTally) -> None:
    compared: list[tuple[str, Any, Any]] = [
        ("counts.tags", release.counts.tags, tags.tags),
        ("counts.tag_instances", release.counts.tag_instances, tags.instances),
    ]
    if release.tag_statistics != TagStatistics() or TAG_COUNTS in tables_in(run, "parquet"):  # 0.1 had neither
        said, counted = asdict(release.tag_statistics), asdict(tags.statistics())
        compared += [(f"tag_statistics.{name}", said[name], counted[name]) for name in said]
    for name, one, other in compared:
        if one != other:
            run.add(Kind.RELEASE_NUMBERS, RELEASE_JSON, f"{name} is {one}, and should be {other}")


def _references(release: Release) -> Iterator[str]:
    """What is wrong in the form of versions and times, and in what RELEASE.json says of other releases."""
    if not _VERSION.fullmatch(release.version):
        yield f"version is {release.version!r}"
    if not is_instant(release.created_at):
        yield f"created_at is {release.created_at!r}"
    if not release.tool.name or not release.tool.version:
        yield "tool has no name or version"
    if release.counts.rejected < 0:
        yield f"counts.rejected is {release.counts.rejected}"
    known = {(event.name, event.version) for event in release.history}
    if len(known) < len(release.history):
        yield "history has a release twice"
    for name, ref in (("previous", release.previous), ("replaces", release.replaces)):
        if ref is not None and not _is_reference(ref):
            yield f"{name} is not a release: {ref.name} {ref.version}"
        elif ref is not None and (ref.name, ref.version) not in known:
            yield f"{name} is {ref.name} {ref.version}, which is not in its history"
    yield from _odd_years(release)
    yield from filter(None, (_odd_event(event, release) for event in release.history))


def _backwards(release: Release) -> Iterator[str]:
    """Releases that it names, and that were made after it by their times."""
    for event in named_in(release.history, release.previous, release.replaces):
        if is_instant(event.created_at) and release.created_at < event.created_at:
            before = f"{event.name} {event.version} before it is of {event.created_at}"
            yield f"created_at is {release.created_at}, and {before}"


def _odd_years(release: Release) -> Iterator[str]:
    if release.previous is not None and not release.previous.name < release.name:
        yield f"previous is {release.previous.name}, which is not of an earlier year"
    if release.replaces is not None and release.replaces.name != release.name:
        yield f"replaces is {release.replaces.name}, which is of another year"


def _odd_event(event: Event, release: Release) -> str | None:
    is_named = _VERSION.fullmatch(event.version) and event.name == release_name(int(event.version[:4]))
    if is_named and is_instant(event.created_at) and (event.name, event.version) != (release.name, release.version):
        return None
    return f"history has {event.name} {event.version} of {event.created_at}"


def _is_reference(ref: ReleaseRef) -> bool:
    match = _VERSION.fullmatch(ref.version)
    return (
        match is not None and ref.name == release_name(int(match[1])) and bool(_DIGEST.fullmatch(ref.sha256sums_sha256))
    )
