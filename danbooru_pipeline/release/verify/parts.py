"""Verification of what a release consists of: every part is there, and nothing else.

Folders of tables and metadata are read as a whole, by wildcards, so a file too many is read as well; and whoever gets a
release takes what lies in it for its publisher's. Releases of before 0.3 had fewer parts and other folders.
"""

from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.names import DOCUMENTS, ReleaseNames, twins
from danbooru_pipeline.release.verify.parquet import tables_in
from danbooru_pipeline.release.verify.verification import Verification, is_of_before_0_3
from danbooru_pipeline.release_paths import INDEX, INDEX_BITMAPS, INDEX_NAMES, POST_VECTORS, TAG_VECTORS, metadata_path


def check_parts(run: Verification) -> None:
    """Check which documents and tables there are. What SHA256SUMS lists in vain is reported as missing already."""
    release = run.release
    if release is None or not run.sums:
        return
    names = ReleaseNames(release)
    # Of two twins the one that belongs here comes first.
    for name, other in twins(sorted(run.sums, key=lambda name: (not names.has(name), name))):
        said = f"and {other} are one name where case, or how an accent is written, makes no difference"
        run.add(Kind.STRAY_FILE, name, said)
    if is_of_before_0_3(release):
        return
    side_tables = (metadata_path(release.year, table, 0) for table in sorted(release.inputs.side_tables))
    for name in (*DOCUMENTS, *side_tables):
        if name not in run.sums and not run.has(name):
            run.add(Kind.PAPER_MISSING, name, "is neither there nor listed, and every release has it")
    # Of index and vectors, another check misses one of two files.
    if not any(run.has(name) or name in run.sums for name in (INDEX_BITMAPS, INDEX_NAMES)):
        run.add(Kind.PAPER_MISSING, f"{INDEX}/", "is not there, and every release has it")
    if not {POST_VECTORS, TAG_VECTORS} & set(tables_in(run, "parquet")):
        run.add(Kind.PAPER_MISSING, f"parquet/{POST_VECTORS}-*.parquet", "is not there, and every release has it")
    for name in run.sums:
        if not names.has(name):
            run.add(Kind.STRAY_FILE, name, "is none of the files that this release has by what RELEASE.json says of it")
