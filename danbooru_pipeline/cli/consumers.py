"""Commands for people who have a release, or want one: get, select, browse, sample tags, apply removals.

Exports are in `exporting`.
"""

import os
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from danbooru_pipeline.cli.reading import held_release
from danbooru_pipeline.cli.shared import FILE, complain, port_option, say, tell
from danbooru_pipeline.progress import counted

#: That are printed at a time.
_LINES: Final = 1_000


def _list(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple((value or "").replace(",", " ").split())


def _text(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> str:
    return " ".join(value)


_OPTIONS = (
    click.option("--all", "all_tags", metavar="A,B", callback=_list, help="Only posts with all of these tags."),
    click.option(
        "--any", "any_tags", metavar="A,B", callback=_list, help="Only posts with at least one of these tags."
    ),
    click.option("--none", "no_tags", metavar="A,B", callback=_list, help="Exclude posts with any of these tags."),
    click.option("--rating", "ratings", metavar="G,S", callback=_list, help="Only these ratings: g, s, q, e."),
    click.option(
        "--type", "types", metavar="JPG,PNG", callback=_list, help="Only originals with one of these extensions."
    ),
    click.option("--min-score", type=int, help="Lowest score."),
    click.option("--min-side", type=int, help="Shortest side of the original, in pixels."),
    click.option("--since-id", type=int, help="Lowest id."),
    click.option("--until-id", type=int, help="Highest id."),
    click.option(
        "--flags",
        "flags",
        metavar="A,B",
        callback=_list,
        help="Only images with one of these warnings: few_colors, nearly_white, nearly_black, empty_alpha, hdr.",
    ),
    click.option("--no-flags", "no_flags", metavar="A,B", callback=_list, help="Exclude images with any of these."),
    click.option("--unique", is_flag=True, help="Keep one post of each group of duplicates, the largest."),
    click.option(
        "--unique-kinds",
        metavar="A,B",
        callback=_list,
        help="Kinds of duplicates that make a group: identical, recompressed, cropped, variant; default all.",
    ),
    click.option(
        "--deleted/--no-deleted",
        default=True,
        show_default=True,
        help="Include or exclude posts that the site has deleted.",
    ),
    click.option("--implications", is_flag=True, help="A tag of the search stands for those that imply it, too."),
    click.option("--corrected", is_flag=True, help="Go by the tags that reviewers corrected, if the release has them."),
    click.option("--buckets", metavar="0000-0009", help="Only these buckets."),
    click.option(
        "--split",
        type=click.Choice(["train", "validation", "test"]),
        help="Only this part: 90, 5 and 5 % of the posts, by their ids, so a post stays in its part.",
    ),
    click.option(
        "--sample",
        type=click.IntRange(min=0),
        metavar="N",
        help="Only N of the posts, chosen at random but always the same ones.",
    ),
)


def _tree_option(default: str) -> Callable[..., Any]:
    return click.option(
        "--tree",
        type=click.Choice(["512px", "original"]),
        default=default,
        show_default=True,
        help="Image tree to use.",
    )


def names_option(name: str, *, help: str, default: str | None = None) -> Callable[..., Any]:  # noqa: A002 - click's
    """An option that takes words, separated by commas or spaces."""
    return click.option(name, metavar="A,B", default=default, show_default=bool(default), callback=_list, help=help)


def selection_options(
    command: Callable[..., Any], *, tree: str = "512px", names: list[str] | None = None
) -> Callable[..., Any]:
    """Give a command the options that select posts.

    Args:
        command: the function.
        tree: the default of ``--tree``.
        names: gets the names of the options' values.
    """
    before = len(getattr(command, "__click_params__", []))
    command = click.argument("search", nargs=-1, callback=_text)(command)
    for option in reversed((*_OPTIONS, _tree_option(tree))):
        command = option(command)
    if names is not None:
        names += [str(param.name) for param in command.__click_params__[before:]]  # type: ignore[attr-defined]
    return command


@click.command()
@click.argument("release_dir", type=click.Path(path_type=Path))
@selection_options
@click.option("--order", metavar="ORDER", help="Order of the posts, like score, favcount_asc or random.")
@click.option("--ids", is_flag=True, help="Print ids instead of paths.")
@click.option("--explain", is_flag=True, help="Also say, on standard error, how many posts each condition left.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write to this file instead of printing.")
def select(release_dir: Path, *, ids: bool, explain: bool, out: Path | None, **wanted: Any) -> None:
    """Print the paths of posts chosen by a SEARCH, for rsync --files-from.

    SEARCH is in the site's language: "1girl solo -comic rating:g score:>=10 order:score limit:500".
    Tags match exactly: "hat" does not match "that". A search that begins with a minus comes after "--".
    """
    from danbooru_pipeline.consume import Selection
    from danbooru_pipeline.consume.select import find_selected, list_paths
    from danbooru_pipeline.io.atomic import atomic_file
    from danbooru_pipeline.release.outside import require_outside

    if out is not None:
        require_outside(out)
    with held_release(release_dir) as held:
        selection = Selection(**wanted)
        found = find_selected(held, selection, threads=os.cpu_count() or 1)
        _tell(found, explain=explain)
        lines = (f"{id_ if ids else path}\n" for id_, path in list_paths(held, found, tree=selection.tree))
        if out is None:
            # Each call flushes, so the first lines come at once and millions do not wait for as many system calls.
            while part := "".join(islice(lines, _LINES)):
                click.echo(part, nl=False)
        else:
            with atomic_file(out) as file:
                count = sum(file.write(line.encode()) > 0 for line in lines)
            click.echo(f"{counted(count, 'post')} in {out}", err=True)
    if found.notes and not len(found.ids):
        sys.exit(1)


@click.command()
@click.argument("release_dir", type=click.Path(path_type=Path))
@port_option(8512)
def browse(release_dir: Path, *, port: int) -> None:
    """Search a release and look at it in a web browser of this machine, until Ctrl-C.

    Prints the address. Nothing is written, and no other machine can connect. A release on a web host needs no such
    command: its browse/ is the same page.
    """
    from danbooru_pipeline.consume.browse import serving_release
    from danbooru_pipeline.release import read_release
    from danbooru_pipeline.release.pointer import followed

    release = followed(release_dir)
    about = read_release(release)
    with serving_release(release, port=port) as server:
        click.echo(f"{about.name} {about.version}: {server.url}")
        server.serve_until_stopped()


@click.command("sample-tags")
@click.argument("release_dir", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(min=1, max=1_000_000), default=1, show_default=True, help="Sets of tags.")
@click.option("--general", type=click.IntRange(min=0), default=12, show_default=True, help="General tags of a set.")
@click.option("--character", type=click.IntRange(min=0), default=1, show_default=True, help="Characters of a set.")
@click.option("--copyright", type=click.IntRange(min=0), default=1, show_default=True, help="Copyrights of a set.")
@click.option("--artist", type=click.IntRange(min=0), default=0, show_default=True, help="Artists of a set.")
@click.option("--meta", type=click.IntRange(min=0), default=0, show_default=True, help="Meta tags of a set.")
@click.option("--rating", "ratings", metavar="G,S", callback=_list, help="Only tags of posts with these ratings.")
@click.option("--exclude", metavar="A,*_B", callback=_list, help="Leave out these tags, or tags of these patterns.")
@click.option("--together", is_flag=True, help="Choose each tag from posts that have the last ones, not by its count.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other sets.")
@click.option("--spaces", is_flag=True, help='Print "long hair, solo" instead of "long_hair solo".')
def sample_tags(
    release_dir: Path, *, count: int, ratings: tuple[str, ...], exclude: tuple[str, ...], together: bool, seed: int,
    spaces: bool, **wanted: int,
) -> None:  # fmt: skip
    """Print random sets of tags, one a line, as prompts for generators: by how often tags are, or are together.

    The same seed gives the same sets on any machine.
    """
    from danbooru_pipeline.consume.sample_tags import TagSampling
    from danbooru_pipeline.consume.sample_tags import sample_tags as sample
    from danbooru_pipeline.release import read_release

    sampling = TagSampling(wanted=wanted, ratings=ratings, exclude=exclude, together=together, seed=seed)
    with held_release(release_dir) as held:
        read_release(held)
        for tags in sample(held, sampling, count):
            click.echo(", ".join(tags).replace("_", " ") if spaces else " ".join(tags))


def _tell(found: Any, *, explain: bool) -> None:
    """Say which tags no post has, and how the posts were found."""
    for note in found.notes:
        complain(note)
    for step in found.steps if explain else ():
        say(f"{step.milliseconds:9.1f} ms {step.posts:12,} posts  {'  ' * (step.depth - 1)}{step.text}")
    if explain:
        say(f"{len(found.ids):,} of {counted(found.total, 'post')}")


@click.command("apply-removals")
@click.argument("target", type=click.Path(path_type=Path), metavar="RELEASE_OR_EXPORT_DIR")
@click.option(
    "--feed",
    type=FILE,
    metavar="FILE",
    required=True,
    help="removals.jsonl of the newest release, or its removed.txt.",
)
@click.option(
    "--signers",
    type=FILE,
    metavar="FILE",
    help="Keys that may have signed the release that the feed lies in, in ssh-keygen's format.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and change nothing.")
def apply_removals(target: Path, feed: Path, signers: Path | None, *, dry_run: bool) -> None:
    """Remove the posts that a publisher's feed names from an export, or from a copy of a release.

    Images, captions, rows of tables and databases, members of tars and zip files: whatever names one of the posts.
    """
    from datetime import UTC, datetime

    from danbooru_pipeline.consume.removals import apply_removals as remove
    from danbooru_pipeline.consume.removals import plan_removals, read_feed
    from danbooru_pipeline.operate.terminal import TerminalLine

    plan = plan_removals(target, read_feed(feed, signers=signers))
    for line in plan.lines():
        tell(f"[DRY RUN] would {line}" if dry_run else line)
    if dry_run:
        return
    terminal = TerminalLine()
    done = remove(plan, created_at=datetime.now(UTC), progress=terminal.step)
    terminal.clear()
    click.echo(done)


@click.command()
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@selection_options
@click.option("--metadata-only", is_flag=True, help="Fetch tables, index and lists only; no images.")
@click.option("--update", is_flag=True, help="Update a copy of another version to this one, by the lists of changes.")
@click.option(
    "--signers",
    type=FILE,
    metavar="FILE",
    help="Keys that must have signed the release, in ssh-keygen's format.",
)
def get(source: str, target: Path, signers: Path | None, *, metadata_only: bool, update: bool, **wanted: Any) -> None:
    """Get a release from SOURCE, or the images of it that a SEARCH finds.

    SOURCE is the address of one release: rsync://, http(s)://, s3:// and others of fsspec, hf://datasets/OWNER/NAME, a
    folder. Tables and index come first, then the images, by ranges where they are in tars; each is verified as
    it comes. An interrupted run resumes where it stopped.
    """
    from danbooru_pipeline.consume import Selection
    from danbooru_pipeline.consume.get import get_release, open_origin
    from danbooru_pipeline.operate.terminal import TerminalLine

    terminal = TerminalLine()
    selection = None if metadata_only else Selection(**wanted)
    with closing(open_origin(source)) as origin:
        report = get_release(origin, target, selection, update=update, signers=signers, progress=terminal.step)
    terminal.clear()
    for line in report.lines():
        tell(line)
    sys.exit(1 if report.missing else 0)
