"""Stores that have posts and no file."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from danbooru_pipeline import sources
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.buckets import BringPosts, build_all
from danbooru_pipeline_tests.support.imported import AGENT, YEAR, NewStore


@pytest.fixture
def store(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> NewStore:
    """A store without files."""
    bring_posts(YEAR)
    shown = [p for p in booru.truth(YEAR) if p.get("file_url") and p["created_at"] < "2021-12-31T19"]
    wrong = set(booru.kinds(YEAR)["wrong_md5"]) | set(booru.kinds(YEAR).get("banned", ()))
    urls = {p["id"]: (p["file_ext"], p["file_url"]) for p in shown if p["id"] not in wrong and not p.get("is_banned")}
    with httpx.Client(headers=AGENT) as client:
        files = {id_: (ext, client.get(url).content) for id_, (ext, url) in urls.items()}
    return NewStore(context, booru, files)


@pytest.fixture
def fresh(store: NewStore, settings: Settings, tmp_path: Path) -> Iterator[NewStore]:
    """A second store without files, after the first one was built."""
    build_all(store.context, YEAR)
    with RunContext(settings.model_copy(update={"root": tmp_path / "fresh"})) as context:
        sources.bring_posts(context.source, context.layout, YEAR, now=context.now(), progress=lambda _line: None)
        sources.split_by_bucket(context.layout, YEAR)
        yield NewStore(context, store.booru, store.files)
