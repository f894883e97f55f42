"""Commands for releases that exist: take an earlier one out of a later one, and take posts down."""

from datetime import UTC, datetime
from pathlib import Path

import click

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings


@click.command()
@click.argument("year", type=int)
@click.option(
    "--from", "release_dir", type=click.Path(path_type=Path), required=True, help="A release of YEAR or later."
)
@click.option("--into", type=click.Path(path_type=Path), help="New folder to link the files and the metadata into.")
@click.option("--list", "as_list", is_flag=True, help="Print the paths of the files alone, for rsync --files-from.")
def reconstruct(year: int, release_dir: Path, into: Path | None, *, as_list: bool) -> None:
    """Take the release of YEAR out of a later one, and name every file that was replaced or is gone since."""
    from danbooru_pipeline.release import reconstruct as find
    from danbooru_pipeline.release import write_reconstruction

    found = find(year, release_dir)
    if as_list:
        for path in (*found.metadata, *found.files):
            click.echo(path)
    for line in found.lines():
        click.echo(line, err=as_list)
    if not as_list and into is None:
        click.echo("its files: --list prints their paths, --into FOLDER links them")
    if into is not None:
        count = write_reconstruction(found, into)
        click.echo(f"linked {count:,} files and {len(found.metadata):,} of metadata into {into}", err=as_list)


@click.command()
@click.argument("ids", type=click.IntRange(min=1), nargs=-1)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--resume", is_flag=True, help="Finish a takedown that was stopped.")
def takedown(ids: tuple[int, ...], *, dry_run: bool, resume: bool) -> None:
    """Remove posts from every published release, from the store, and from all that is made later."""
    from danbooru_pipeline.context import RunContext
    from danbooru_pipeline.operate.removal import take_down, takedown_lines
    from danbooru_pipeline.release import plan_takedown

    if bool(ids) == resume:
        raise click.UsageError("give the ids of posts, or --resume")
    settings = Settings.from_env(offline=True)
    plan = plan_takedown(Layout(settings.root), ids)
    if dry_run:
        for line in plan.lines():
            click.echo(f"[DRY RUN] {line}")
        return
    with RunContext(settings, now=lambda: datetime.now(UTC)) as context:
        made = take_down(context, plan)
    for line in takedown_lines(made):
        click.echo(line)
    click.echo(f"{len(plan.posts):,} posts are taken down; tell mirrors to run again: removed.txt has the ids")
