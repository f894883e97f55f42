"""The group ``danbooru-pipeline curate``: candidates, predictions, review, gold samples, estimates, giving back."""

import os
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from danbooru_pipeline.cli.consumers import names_option
from danbooru_pipeline.cli.reading import held_release
from danbooru_pipeline.cli.shared import FILE, JSON, YEAR, complain, port_option, print_json, read_settings, say, tell
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.progress import counted

RATINGS = "g,s"


@click.group()
def curate() -> None:
    """Raise the quality of tags: find what is missing or wrong, let people decide, and use what they decided."""


def _layout() -> Layout:
    return Layout(read_settings(offline=True).root)


def _who(given: str | None) -> str:
    return (os.environ.get("USER") or "reviewer") if given is None else given


WHO = click.option("--who", metavar="NAME", help="Who answers, as the log names them; by default the login name.")


@curate.command()
@YEAR
@click.option(
    "--predictions",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Predictions of a model of pictures: Parquet with id, tag and p, sorted by id. May be given more than once.",
)
@click.option(
    "--ai-tags",
    type=FILE,
    metavar="FILE",
    help="The site's own predictions, in the same form.",
)
@click.option(
    "--least", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Lowest probability of a missing tag."
)
@click.option(
    "--most-wrong",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Highest probability of a tag on a post for it to be in question.",
)
@names_option("--categories", help="Categories of the tags.", default="general,copyright,character")
@JSON
def candidates(year: int, predictions: tuple[Path, ...], ai_tags: Path | None, *, as_json: bool, **wanted: Any) -> None:
    """Find tags that may be missing or wrong in the release of YEAR, from its own tags and rules."""
    from danbooru_pipeline.curate.candidates import CandidateOptions, learn, write_candidates
    from danbooru_pipeline.curate.folder import CurationFolder
    from danbooru_pipeline.curate.learning import fusion_of, seconds_of
    from danbooru_pipeline.curate.log import DecisionLog
    from danbooru_pipeline.curate.predictions import Predictions
    from danbooru_pipeline.release.takedown.curation import clear_if_removed

    layout = _layout()
    folder = CurationFolder.of(layout)
    files = [Predictions(path=path, label=f"model {path.stem}") for path in predictions]
    files += [Predictions(path=ai_tags, label="the site's model", signal="site")] if ai_tags else []
    for each in files:
        each.check()
    pages = DecisionLog(folder.decisions).read()
    fusion = fusion_of(pages)
    wanted["categories"] = frozenset(wanted["categories"])
    with held_release(layout.release(year)) as held:
        known = learn(held, predictions=tuple(files), fusion=fusion)
        for circle in known.rules.circles:
            say(f"left out, since they follow from each other: {', '.join(circle)}")
        options = CandidateOptions(seconds=seconds_of(pages), **wanted)
        counts = write_candidates(known, folder.candidates(year), options=options)
        clear_if_removed(layout)
    answers = fusion.answers if fusion else 0
    if as_json:
        print_json({"missing": counts["+"], "wrong": counts["-"], "calibrated_by": answers})
        return
    click.echo(f"{counted(counts['+'], 'tag')} that may be missing, {counts['-']:,} that may be wrong")
    click.echo(f"calibrated by {answers:,} answers" if fusion else "not calibrated: too few answers yet")


@curate.command()
@YEAR
@click.option("--model", type=click.Path(path_type=Path), required=True, metavar="FILE", help="A tagger, as ONNX.")
@click.option("--tags", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Its list of tags.")
@click.option(
    "--convention",
    type=click.Choice(["wd", "deepdanbooru"]),
    default="wd",
    show_default=True,
    help="How it wants pictures: wd as BGR from 0 to 255, deepdanbooru as RGB from 0 to 1.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The Parquet file to write."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of the model.")
def predict(year: int, out: Path, threads: int, **wanted: Any) -> None:
    """Ask a tagger about the 512px images of YEAR, for curate candidates --predictions."""
    from danbooru_pipeline.consume import open_release
    from danbooru_pipeline.curate.predict import write_predictions
    from danbooru_pipeline.images.tagger import Tagger, TaggerSettings

    tagger = Tagger(TaggerSettings(**wanted), threads=threads)
    with held_release(_layout().release(year)) as held:
        looked, unread = write_predictions(open_release(held), tagger, out)
    click.echo(f"{looked:,} pictures in {out}")
    if unread:
        complain(f"{unread:,} pictures cannot be read; verify the release")
        sys.exit(1)


@curate.command()
@YEAR
@WHO
@names_option("--ratings", help="Only posts with these ratings.", default=RATINGS)
@names_option("--tags", help="Only these tags.")
@click.option("--only", type=click.Choice(["missing", "wrong"]), help="Only tags that are missing, or only wrong ones.")
@click.option("--rules", is_flag=True, help="In the terminal, without pictures: only what rules say.")
@port_option(8765)
def review(year: int, who: str | None, only: str | None, port: int, *, rules: bool, **wanted: Any) -> None:
    """Answer candidates of YEAR on a page at 127.0.0.1, by keyboard; every page is saved before the next one shows."""
    from danbooru_pipeline.curate.folder import CurationFolder
    from danbooru_pipeline.curate.review.queue import QueueOptions, ReviewQueue
    from danbooru_pipeline.curate.review.session import ReviewSession

    layout = _layout()
    asked = {"missing": "+", "wrong": "-", None: ""}[only]
    options = QueueOptions(asked=asked, with_pictures=not rules, **wanted)
    session = ReviewSession(ReviewQueue(layout.release(year), CurationFolder.of(layout), _who(who), options))
    try:
        if rules:
            from danbooru_pipeline.curate.review.terminal import review_rules

            saved = review_rules(
                session,
                ask=lambda prompt: click.prompt(prompt, prompt_suffix="", default="", show_default=False),
                say=say,
            )
        else:
            saved = _serve(session, port)
    finally:
        session.queue.close()
    click.echo(f"{saved:,} pages saved in {session.queue.log.path}")


def _serve(session: Any, port: int) -> int:
    from danbooru_pipeline.curate.review.server import ReviewServer
    from danbooru_pipeline.errors import SettingsError
    from danbooru_pipeline.stop import serve_until_stopped

    try:
        server = ReviewServer(session, port)
    except OSError as error:
        raise SettingsError(f"--port {port} cannot be used ({error.strerror}); give another one") from error
    say(f"review on {server.url} as {session.queue.who}; Ctrl-C ends it")
    serve_until_stopped(server)
    return int(session.saved)


@curate.command()
@JSON
def corrections(*, as_json: bool) -> None:
    """Write what reviewers agreed on, for the next release of any year to take up; no release is changed."""
    from danbooru_pipeline.curate.corrections import write_decided

    layout = _layout()
    count = write_decided(layout)
    if as_json:
        print_json({"decided": count, "path": str(layout.decided)})
    else:
        click.echo(f"{count:,} changes are agreed on, in {layout.decided}")


@curate.command()
@YEAR
@click.argument("tag")
@click.option("--count", type=click.IntRange(min=8), default=300, show_default=True, help="Posts to be judged.")
@WHO
@port_option(8765)
def gold(year: int, tag: str, count: int, who: str | None, port: int) -> None:
    """Judge a random sample of posts with and without TAG, for honest estimates of its precision and recall."""
    from danbooru_pipeline.curate.folder import CurationFolder
    from danbooru_pipeline.curate.review.gold import draw_gold
    from danbooru_pipeline.curate.review.queue import GivenQueue
    from danbooru_pipeline.curate.review.session import ReviewSession

    layout = _layout()
    folder = CurationFolder.of(layout)
    sheets = draw_gold(layout.release(year), folder, tag, count=count, seed=datetime.now(UTC).toordinal())
    session = ReviewSession(GivenQueue(layout.release(year), folder, _who(who), sheets))
    click.echo(f"{_serve(session, port):,} pages saved in {folder.decisions}")


@curate.command()
@YEAR
@click.option("--against", type=int, metavar="YEAR", help="A later release, which shows what users changed.")
@JSON
def estimate(year: int, against: int | None, *, as_json: bool) -> None:
    """Say how good the tags of YEAR are: precision and recall by tag, with intervals, and what review has cost."""
    from danbooru_pipeline.curate.estimate import measure
    from danbooru_pipeline.curate.folder import CurationFolder
    from danbooru_pipeline.curate.log import DecisionLog
    from danbooru_pipeline.curate.quality_page import write_measured

    layout = _layout()
    folder = CurationFolder.of(layout)
    newer = layout.release(against) if against else None
    pages = DecisionLog(folder.decisions).read()
    quality = measure(layout.release(year), folder, pages, now=datetime.now(UTC), newer=newer)
    write_measured(quality, folder, year)
    if as_json:
        print_json(quality)
    else:
        click.echo("\n".join(quality.lines()))


@curate.command()
@YEAR
@click.option(
    "--least",
    type=click.FloatRange(0.5, 1),
    default=0.985,
    show_default=True,
    help="Least share of the posts with a tag that must have the other one: the lower bound, at 95 %.",
)
@click.option(
    "--posts", type=click.IntRange(min=1), default=100, show_default=True, help="Fewest posts of the narrow tag."
)
@click.option("--most", type=click.IntRange(min=1), default=100, show_default=True, help="Most lines.")
@JSON
def implications(year: int, *, least: float, posts: int, most: int, as_json: bool) -> None:
    """Print implications that the tags of YEAR suggest, as text of a bulk update request, for a person to judge."""
    from danbooru_pipeline.curate.implications import propose_implications

    with held_release(_layout().release(year)) as release:
        found = propose_implications(release, least_share=least, least_posts=posts)[:most]
    if as_json:
        print_json(found)
    for each in found if not as_json else ():
        tell(each.line)


@curate.command()
@YEAR
@click.option("--per-day", type=click.IntRange(min=1), default=100, show_default=True, help="Most edits in 24 hours.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent; also what happens without --write.")
@click.option("--write", is_flag=True, help="Send the edits with your account. Ask the site's staff first.")
def submit(year: int, per_day: int, *, dry_run: bool, write: bool) -> None:
    """Give what reviewers agreed on back to the site: a list for people, and with --write one edit a second."""
    from danbooru_pipeline.context import RunContext
    from danbooru_pipeline.curate import submit as sending
    from danbooru_pipeline.curate.folder import CurationFolder
    from danbooru_pipeline.curate.log import DecisionLog
    from danbooru_pipeline.io.locks import exclusive
    from danbooru_pipeline.release.takedown.curation import clear_if_removed

    only_says = dry_run or not write
    settings = read_settings(offline=only_says)
    layout = Layout(settings.root)
    folder = CurationFolder.of(layout)
    busy = "another process submits; wait for it to end, then run again"
    with nullcontext() if only_says else exclusive(folder.submission_lock, busy=busy):
        pages, sent = DecisionLog(folder.decisions).read(), sending.read_sent(folder.submitted)
        now = datetime.now(UTC)
        plan = sending.plan_submission(layout.release(year), pages, sent, per_day=per_day, now=now)
        if only_says:
            click.echo("\n".join(plan.lines()))
            return
        with RunContext(settings) as context:
            done = sending.submit(plan, context.client, folder.submitted, say=say)
        clear_if_removed(layout)
    click.echo(f"{counted(done.edits, 'edit was', 'edits were')} taken")
    if done.refusal:
        complain(done.refusal)
        sys.exit(1)
