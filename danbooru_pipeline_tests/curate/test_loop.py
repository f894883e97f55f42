"""The whole loop on the embedded booru: hidden tags are found, reviewed, corrected, sent, and adopted a year later."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline import sources
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.curate.candidates import CandidateOptions, learn, write_candidates
from danbooru_pipeline.curate.corrections import write_decided
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.log import DecisionLog
from danbooru_pipeline.curate.review.queue import QueueOptions, ReviewQueue
from danbooru_pipeline.curate.review.session import ReviewSession
from danbooru_pipeline.curate.submit import plan_submission, read_sent, submit
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.demo.site.api import API_KEY, LOGIN
from danbooru_pipeline.layout import Layout, px512_path
from danbooru_pipeline.release.tables.corrections import POSTS_COLUMNS, judge
from danbooru_pipeline.release.tables.search_index import reader
from danbooru_pipeline.settings import Settings

Curated = tuple[Path, CurationFolder, set[tuple[int, str]]]
#: Common enough in a small world to be missed where they are hidden.
HIDDEN = ("1girl", "solo", "shirt", "collar", "upper_body", "looking_at_viewer")


def release_of(layout: Layout, year: int) -> Path:
    """As much of a release as curation reads, from the posts of a sweep; every post has a picture."""
    folder = layout.release(year)
    (folder / "parquet").mkdir(parents=True)
    (folder / "manifest").mkdir()
    posts = pq.read_table(layout.posts(year))
    pq.write_table(posts, folder / "parquet/posts-00000-of-00001.parquet")
    files = {"id": posts["id"], "px512_path": [px512_path(post) for post in posts["id"].to_pylist()]}
    pq.write_table(pa.table(files), folder / "manifest/files-00000-of-00001.parquet")
    return folder


def sweep(context: RunContext, year: int) -> Path:
    """Read the posts of a year from the booru."""
    sources.bring_posts(context.source, context.layout, year, now=context.now(), progress=lambda _line: None)
    return release_of(context.layout, year)


def hide(booru: BooruProcess, context: RunContext) -> set[tuple[int, str]]:
    """Take a tag each off six posts that have most of the common ones."""
    hidden: set[tuple[int, str]] = set()
    for post in booru.truth(2021):
        held = [tag for tag in HIDDEN if tag in post["tag_string"].split()]
        if len(held) >= 4 and len(hidden) < 6:
            tag = held[len(hidden) % len(held)]
            form = {"post[old_tag_string]": "", "post[tag_string]": f"-{tag}"}
            assert context.client.put_form(f"/posts/{post['id']}.json", form).status == 200
            hidden.add((post["id"], tag))
    return hidden


def test_hidden_tags_come_back(booru: BooruProcess, tmp_path: Path, made: Curated) -> None:
    """Most of what was hidden is found and sent, nothing else is, and next year's sweep has it as adopted."""
    settings = Settings(
        root=tmp_path,
        api_url=booru.api_url,
        cdn_url=booru.cdn_url,
        login=LOGIN,
        api_key=API_KEY,
    )
    clock = [datetime(2022, 1, 20, tzinfo=UTC)]
    folder = CurationFolder.of(Layout(tmp_path))
    with RunContext(settings, now=lambda: clock[0]) as context:
        hidden = hide(booru, context)
        release = sweep(context, 2021)
        (release / "RELEASE.json").write_bytes((made[0] / "RELEASE.json").read_bytes())
        write_candidates(learn(release), folder.candidates(2021), options=CandidateOptions(least=0.0))
        session = ReviewSession(ReviewQueue(release, folder, "ann", QueueOptions(ratings=())))
        while (sheet := session.next()) is not None:
            verdicts = {q.post: "+" if (q.post, sheet.tag) in hidden else "-" for q in sheet.questions}
            session.save(sheet.number, verdicts, ms=10)  # type: ignore[arg-type]
        pages = DecisionLog(folder.decisions).read()
        found = write_decided(context.layout)
        assert found > len(hidden) / 2 > 0
        plan = plan_submission(release, pages, (), per_day=3, now=clock[0])
        done = submit(plan, context.client, folder.submitted, say=lambda _: None)
        assert (done.edits, done.refusal) == (3, "")
        assert {edit.post for edit in plan.edits} <= {post for post, _ in hidden}
        clock[0] = datetime(2023, 1, 20, tzinfo=UTC)
        booru.set_year(2022)
        newer = sweep(context, 2022)
    decided = pq.read_table(context.layout.decided)
    states = judge(decided, reader(newer)("posts", POSTS_COLUMNS)).to_pylist()
    sent = {each.post for each in read_sent(folder.submitted)}
    adopted = {row["post_id"] for row in states if row["state"] == "adopted"}
    assert adopted == sent & {row["post_id"] for row in states}
    assert adopted
