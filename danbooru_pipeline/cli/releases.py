"""Commands for releases that exist: verify, reconstruct, compare, take posts down, publish, ask mirrors."""

import sys
from pathlib import Path

import click

from danbooru_pipeline.cli.reading import held_release
from danbooru_pipeline.cli.shared import FILE, JSON, YEAR, complain, print_json, read_settings, tell
from danbooru_pipeline.layout import INT64_MAX, Layout
from danbooru_pipeline.progress import counted


@click.command()
@click.argument("release_dir", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Hash every image instead of comparing its size only.")
@click.option("--pixels", is_flag=True, help="Decode the originals and compare their pixel hashes with the manifest's.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="With --pixels: only N originals.")
@click.option("--bucket", metavar="BUCKET", help="Check the images of this bucket only, by their content.")
@click.option(
    "--signers",
    type=FILE,
    metavar="FILE",
    help="Keys that may have signed it, in ssh-keygen's format; by default those that the release itself names.",
)
@JSON
def verify(
    release_dir: Path,
    bucket: str | None,
    signers: Path | None,
    sample: int | None,
    *,
    full: bool,
    pixels: bool,
    as_json: bool,
) -> None:
    """Verify a release from its folder alone: without settings, store or network."""
    from danbooru_pipeline.layout import BUCKETS
    from danbooru_pipeline.operate.terminal import TerminalLine
    from danbooru_pipeline.release import verify_release

    if bucket is not None and bucket not in BUCKETS:
        raise click.BadParameter("a bucket is 0000 to 0999", param_hint="--bucket")
    if sample is not None and not pixels:
        raise click.UsageError("--sample goes with --pixels")
    terminal = TerminalLine()
    with held_release(release_dir) as held:
        report = verify_release(
            held,
            full=full,
            pixels=pixels,
            sample=sample,
            bucket=bucket,
            signers=signers,
            progress=terminal.step,
        )
        terminal.clear()
    if as_json:
        print_json(report.as_dict())
    else:
        for line in report.lines():
            tell(line)
    sys.exit(0 if report.ok else 1)


@click.command()
@YEAR
@click.option(
    "--from",
    "release_dir",
    type=click.Path(path_type=Path),
    metavar="RELEASE_DIR",
    required=True,
    help="A release of YEAR or later.",
)
@click.option(
    "--into", type=click.Path(path_type=Path), metavar="DIR", help="New folder to link the files and the metadata into."
)
@click.option("--list", "as_list", is_flag=True, help="Print only the paths of the files, for rsync --files-from.")
def reconstruct(year: int, release_dir: Path, into: Path | None, *, as_list: bool) -> None:
    """Reconstruct the release of YEAR from a later one, and name every file that was replaced or removed since."""
    import itertools

    from danbooru_pipeline.release import write_reconstruction
    from danbooru_pipeline.release.reconstruct import reconstruct as find

    with held_release(release_dir) as held:
        found = find(year, held)
    if as_list:
        for path in itertools.chain(found.metadata, found.files):
            click.echo(path)
    for line in found.lines():
        click.echo(line, err=as_list)
    if not as_list and into is None:
        click.echo("to get its files: --list prints their paths, --into DIR links them")
    if into is not None:
        with held_release(release_dir):
            count = write_reconstruction(found, into)
        click.echo(f"linked {counted(count, 'file')} and {len(found.metadata):,} of metadata into {into}", err=as_list)


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the lists: a table and a report of what changed, and the files to fetch and to remove.",
)
@JSON
def changes(old: Path, new: Path, into: Path | None, *, as_json: bool) -> None:
    """List what changed from release OLD to release NEW: any two, also of one year, also the other way round."""
    import os

    from danbooru_pipeline.release.compare import compare_releases

    with held_release(old) as older, held_release(new) as newer:
        found = compare_releases(older, newer, into=into, threads=os.cpu_count() or 1)
    if as_json:
        print_json(found.as_dict())
        return
    for line in found.lines():
        tell(line)
    if into is None:
        click.echo("to get the lists: --into DIR writes them")
    else:
        click.echo(f"written: {into / found.label}.parquet, .md, .files.txt, .remove.txt")


@click.command()
@click.argument("ids", type=click.IntRange(min=1, max=INT64_MAX), nargs=-1, metavar="ID...")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option("--resume", is_flag=True, help="Finish a takedown that was interrupted, also at published places.")
@click.option(
    "--cleared", metavar="PLACE", help="Say that a place is gone, or was cleared by hand: it is not waited for."
)
def takedown(ids: tuple[int, ...], *, dry_run: bool, resume: bool, cleared: str | None) -> None:
    """Remove posts from every published release, from the store, and from all releases made later."""
    from danbooru_pipeline.context import RunContext
    from danbooru_pipeline.operate.removal import carry_out, nothing_to_resume, planned_lines
    from danbooru_pipeline.posts.takedowns import forget_place
    from danbooru_pipeline.release import plan_takedown

    if bool(ids) + resume + (cleared is not None) != 1 or (cleared is not None and dry_run):
        raise click.UsageError("give the ids of posts, or --resume, or --cleared PLACE alone")
    settings = read_settings(offline=True)
    if cleared is not None:
        for copy in forget_place(Layout(settings.root), cleared):
            tell(f"{copy.name} ({copy.release}) is waited for no more")
        return
    plan = plan_takedown(Layout(settings.root), ids)
    with RunContext(settings) as context:
        idle = nothing_to_resume(context, plan) if resume else None
        if dry_run:
            for line in planned_lines(context, plan, idle=idle):
                tell(f"[DRY RUN] {line}")
            return
        failed = carry_out(context, plan, idle=idle, say=tell)
    for line in failed:
        complain(line)
    if failed:
        sys.exit(1)


@click.command()
@JSON
def mirrors(*, as_json: bool) -> None:
    """Ask the mirrors of DANBOORU_MIRRORS what they hold, and write releases/mirrors.html and mirrors.json.

    Replaced versions whose grace period is over (DANBOORU_GRACE_DAYS) are removed, too. Exit code 1: a mirror still has
    posts that were taken down, or the page did not get to where releases are published.
    """
    import msgspec

    from danbooru_pipeline.context import RunContext
    from danbooru_pipeline.operate.mirrors import Holds, look_after_mirrors

    with RunContext(read_settings(offline=True)) as context:
        done = look_after_mirrors(context)
    if as_json:
        print_json(msgspec.to_builtins(done))
    else:
        for line in done.lines():
            tell(line)
    if done.failed or any(each.holds is Holds.REMOVED for each in done.mirrors):
        sys.exit(1)


@click.command()
@YEAR
@click.option("--to", "kind", type=click.Choice(["static", "hub"]), help="Only to this kind of place.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent and removed, and change nothing.")
def publish(year: int, kind: str | None, *, dry_run: bool) -> None:
    """Publish the release of YEAR at the places that the settings name: static hosting, the Hugging Face Hub.

    Only what changed is sent, indexes and RELEASE.json last, and what the release lacks is removed first. A killed one
    goes on. Refused without the decision on DANBOORU_EXCLUDE_TAGS, and for a release that does not verify.
    """
    from danbooru_pipeline.operate.publication import plan_places
    from danbooru_pipeline.operate.terminal import TerminalLine
    from danbooru_pipeline.publish import apply_publication

    for plan in plan_places(read_settings(offline=True), year, kind=kind):
        for line in plan.lines():
            tell(f"[DRY RUN] would {line}" if dry_run else line)
        if not dry_run:
            terminal = TerminalLine()
            apply_publication(plan, progress=terminal.step)
            terminal.clear()
            click.echo(f"{plan.place.address} has {plan.name} {plan.version}")
