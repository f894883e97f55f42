"""Every number of every document, counted again from the release's own tables and files with another tool (pandas)."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import REASONS, Reason
from danbooru_pipeline.release import read_release
from danbooru_pipeline.release.documents.bar_charts import vertical_bars
from danbooru_pipeline.release.documents.history import ORIGINALS
from danbooru_pipeline.release.documents.statistics import Bar
from danbooru_pipeline.release.documents.wording import citation_key, size_category
from danbooru_pipeline.release.templating import TEMPLATES

CATEGORIES = ("general", "artist", "copyright", "character", "meta")
IMAGES = {"jpg", "png", "gif", "webp", "avif", "bmp"}
#: Documents of a release that have numbers, and the template that their fixed numbers come from.
DOCUMENTS = ("README.md", "DATASHEET.md", "NOTICE.md", "CHANGELOG.md", "ANNOUNCEMENT.txt", "feed.atom", "index.html")


@dataclass
class Tables:
    """What pandas reads of a release."""

    folder: Path
    posts: pd.DataFrame
    files: pd.DataFrame

    @property
    def year(self) -> int:
        """Of the release, by its name."""
        return int(self.folder.name[-4:])

    def size(self, tree: str) -> int:
        """Bytes of the files on disk."""
        return sum(path.stat().st_size for path in (self.folder / tree).glob("*/*") if path.is_file())

    @cached_property
    def tags(self) -> list[tuple[str, str, int]]:
        """``(category, tag, year of the post)`` of each instance."""
        years = self.posts["created_at"].dt.year.fillna(0).astype(int)
        return [
            (category, tag, year)
            for category in CATEGORIES
            for text, year in zip(self.posts[f"tag_string_{category}"], years, strict=True)
            for tag in text.split()
        ]


def read(folder: Path) -> Tables:
    """Read posts and manifest."""
    posts = pd.concat(pd.read_parquet(path) for path in sorted(folder.glob("parquet/posts-*.parquet")))
    files = pd.concat(pd.read_parquet(path) for path in sorted(folder.glob("manifest/files-*.parquet")))
    return Tables(folder, posts, files)


def reasons(tables: Tables, what: str) -> dict[str, int]:
    """Posts without a file by reason."""
    prefix = "px512_" if what == "px512" else ""
    rows = tables.files[tables.files[f"{prefix}path"].isna()]
    return dict(Counter(rows[f"{prefix}reason"]))


def binary(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def facts(tables: Tables) -> dict[str, int]:
    """The headline numbers."""
    instances = tables.tags
    names = {tag for _, tag, _ in instances}
    older = {tag for _, tag, year in instances if year < tables.year}
    return {
        "posts": len(tables.posts),
        "originals": int(tables.files["path"].notna().sum()),
        "images": int(tables.files[tables.files["path"].notna()]["file_type"].isin(IMAGES).sum()),
        "px512": int(tables.files["px512_path"].notna().sum()),
        "tags": len(names),
        "instances": len(instances),
        "new_tags": len(names - older),
        "last_id": int(tables.posts["id"].max()),
        "deleted": int(tables.posts["is_deleted"].fillna(value=False).sum()),
        "md5_differs": int((tables.files["reason"] == "md5_differs").sum()),
        "taken_down": len((tables.folder / "removed.txt").read_text().split()),
        "original_bytes": tables.size("original"),
        "px512_bytes": tables.size("512px"),
        "saved": int((tables.files["source_size"] - tables.files["size"]).sum()),
    }


def counts(tables: Tables) -> Iterator[int]:
    """Every count that a chart or a list may show."""
    yield from Counter(tables.posts["created_at"].dt.year).values()
    yield from Counter(tables.posts["rating"].fillna("?")).values()
    yield from Counter(tables.files[tables.files["path"].notna()]["file_type"].fillna("other")).values()
    yield from Counter(category for category, _, _ in tables.tags).values()
    every = Counter((category, tag) for category, tag, _ in tables.tags)
    fresh = Counter((category, tag) for category, tag, year in tables.tags if year == tables.year)
    yield from itertools.chain.from_iterable((count, fresh[key]) for key, count in every.items())
    lengths = tables.posts["tag_string"].fillna("").str.split().str.len()
    yield from Counter(length // 5 * 5 for length in lengths).values()
    sizes = tables.files["size"].dropna()
    ends = [0, *(2**power for power in (16, 18, 20, 22, 24)), 2**63]
    yield from (int(((sizes >= low) & (sizes < high)).sum()) for low, high in itertools.pairwise(ends))
    for what in ("original", "px512"):
        yield from reasons(tables, what).values()


def shares(tables: Tables) -> set[str]:
    """Every share of a tag's posts that are of the release's year, in percent."""
    every = Counter((category, tag) for category, tag, _ in tables.tags)
    fresh = Counter((category, tag) for category, tag, year in tables.tags if year == tables.year)
    return {f"{100 * fresh[key] / count:.0f}" for key, count in every.items()}


def duplicates(tables: Tables) -> Iterator[int]:
    """Pairs of duplicates: all, by kind, those that are not identical, and those not linked."""
    shards = sorted(tables.folder.glob("parquet/duplicates-*.parquet"))
    kinds: Counter[str] = Counter()
    unlinked = 0
    for path in shards:
        table = pd.read_parquet(path)
        kinds += Counter(table["kind"].astype(str))
        unlinked += int(table["unlinked"].sum())
    yield from (kinds.total(), kinds.total() - kinds["identical"], unlinked, *kinds.values())


@pytest.fixture(scope="module")
def years(releases: Layout) -> tuple[Tables, Tables]:
    """Both releases."""
    return read(releases.release(2021)), read(releases.release(2022))


def known(tables: Tables, other: Tables) -> set[str]:
    """Every number that may stand in a document, as text."""
    release = read_release(tables.folder)
    found: set[str] = set()
    for each in (tables, other):
        numbers = facts(each)
        found |= {f"{value:,}" for value in (*numbers.values(), *counts(each))} | {str(numbers["last_id"])}
        found |= {
            f"{numbers['instances'] / numbers['posts']:,.1f}",
            f"{each.year}",
            *(f"{each.year}.{n}" for n in range(3)),
        }
        found |= {binary(numbers[name]).split()[0] for name in ("original_bytes", "px512_bytes", "saved")}
        found |= {binary(numbers["original_bytes"] + numbers["px512_bytes"]).split()[0]}
        found |= {f"{count:,}" for count in duplicates(each)} | shares(each)
    new, old = facts(tables), facts(other)
    found |= {f"{new['posts'] - new[name]:,}" for name in ("originals", "px512")}
    found |= {f"{new['originals'] - new['images']:,}", f"{abs(new['tags'] - old['tags']):,}"}
    found |= set(re.findall(r"\d+", f"{release.cutoff} {release.image_settings}"))
    found |= set(map(str, tables.posts["created_at"].dt.year.unique()))
    for event in (release.event, *release.history):
        found |= set(re.findall(r"\d+", f"{event.created_at} {event.version}"))
    found |= set(re.findall(r"\d+(?:\.\d+)?", json.dumps([str(source) for source in release.sources])))
    found |= set(re.findall(r"\d+(?:\.\d+)?", f"{release.tool.version} {release.tool.commit}"))
    for original in ORIGINALS:
        short = (original.images, original.tag_instances, original.tags or 0)
        found |= {f"{value / unit:.3g}" for value in short for unit in (10**6, 10**3)}
        found |= set(re.findall(r"[\d,]+(?:\.\d+)?", f"{original.cutoff} {original.note} {original.name}"))
        found |= {str(original.last_id), f"{original.last_id or 0:,}", f"{original.bytes / 2**40:.1f}"}
    return found


def shown(text: str) -> Iterator[str]:
    """The numbers of a document, without those of addresses, styles and drawings."""
    text = re.sub(r"<style>.*?</style>|data:[^\"]*|<(?:rect|svg|text|meta|img|a)\b[^>]*>", " ", text, flags=re.DOTALL)
    text = re.sub(r"\b\d[\d.,]*[A-Za-z]\w*", " ", text)  # rounded to M or k, or no number
    text = re.sub(r"https?://\S+|urn:\S+|&#?\w+;|\btag_\w+|post \d+", " ", text)
    yield from re.findall(r"(?<![\w.%#-])\d[\d,]*(?:\.\d+)?(?![\w])", text)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("newest", [True, False])
def test_every_number_of_a_document_is_counted(years: tuple[Tables, Tables], name: str, *, newest: bool) -> None:
    """No number stands in a document but those of the tables, of the original project, and of the fixed text."""
    tables, other = reversed(years) if newest else years
    template = (TEMPLATES / name).read_text()
    fixed = {number.rstrip(",") for number in re.findall(r"\d[\d,]*(?:\.\d+)?", template)}
    bins = {str(n) for n in range(0, 105, 5)} | {str(n) for n in range(4, 105, 5)} | {"64", "256", "16"}
    numbers = {number.rstrip(",") for number in shown((tables.folder / name).read_text())}
    assert numbers
    assert numbers - known(tables, other) - fixed - (bins if name == "index.html" else set()) == set()


def line(folder: Path, name: str, pattern: str) -> tuple[str, ...]:
    """The groups of the one place in a document where a sentence stands."""
    found = re.findall(pattern, (folder / name).read_text())
    assert len(found) == 1, (name, pattern, found)
    return (found[0],) if isinstance(found[0], str) else found[0]


def test_datasheet_reasons(years: tuple[Tables, Tables]) -> None:
    """Reasons for a missing file add up to the posts without one; none of a file that is there is among them."""
    for tables in years:
        for what, words in (("original", "an original"), ("px512", "a 512px image")):
            total, text = line(tables.folder, "DATASHEET.md", rf"Posts without {words}: (\d+)\. By reason: (.*)\.\n")
            said = {name: int(count) for name, count in (part.split() for part in text.split(", "))}
            assert said == reasons(tables, what)
            assert sum(said.values()) == int(total)
            assert all(REASONS[Reason(name)][0] != "ok" for name in said)


def test_documents_say_the_headline_numbers(years: tuple[Tables, Tables]) -> None:
    """Card, datasheet, page, announcement, feed and Croissant have the numbers at their places."""
    for tables in years:
        n = {name: f"{value:,}" for name, value in facts(tables).items()}
        folder = tables.folder
        assert line(folder, "README.md", r"\| originals \| ([\d,]+) files, .*; ([\d,]+) of them images") == (
            n["originals"],
            n["images"],
        )
        assert line(folder, "README.md", r"\n([\d,]+) posts with ([\d,]+) instances of ([\d,]+) tags") == (
            n["posts"],
            n["instances"],
            n["tags"],
        )
        assert line(folder, "DATASHEET.md", r"([\d,]+) tags are on posts uploaded in") == (n["new_tags"],)
        assert line(folder, "DATASHEET.md", r"metadata; ([\d,]+) were\nwhole") == (n["md5_differs"],)
        assert line(folder, "DATASHEET.md", r"([\d,]+) posts are marked as deleted") == (n["deleted"],)
        page = folder / "index.html"
        for name, value in (("originals", "originals"), ("of them images", "images"), ("posts", "posts")):
            assert line(folder, page.name, rf"<dt>{name}</dt><dd>([\d,]+)</dd>") == (n[value],)
        assert f"{n['posts']} posts with {n['instances']}" in (folder / "ANNOUNCEMENT.txt").read_text()
        assert f"<li>{n['originals']} originals;" in (folder / "feed.atom").read_text()
        about = json.loads((folder / "croissant.json").read_bytes())
        assert f"{n['posts']} posts" in about["description"]
        assert f"{n['originals']} originals" in about["description"]


def test_list_of_changes_agrees_with_both_years(years: tuple[Tables, Tables]) -> None:
    """Each difference is that of the two columns beside it, which are counts of the two releases."""
    old, new = (facts(tables) for tables in years)
    text = (years[1].folder / "changes/2022-from-2021.md").read_text()
    names = {
        "posts": "posts",
        "originals": "originals",
        "512px images": "px512",
        "tags": "tags",
        "tag instances": "instances",
    }
    for words, name in names.items():
        row = f"| {words} | {old[name]:,} | {new[name]:,} | {new[name] - old[name]:+,} |"
        assert row in text


def test_croissant_says_what_is_so(releases: Layout) -> None:
    """It cites this release, invents no address, conforms to 1.1 with the fields for responsible AI."""
    folder = releases.release(2022)
    about: dict[str, Any] = json.loads((folder / "croissant.json").read_bytes())
    assert about["citeAs"].startswith("@misc{danbooru2022,")
    assert about["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert about["license"] == "https://data.example.org/releases/danbooru2022/NOTICE.md"
    assert "invalid" not in json.dumps(about)
    assert "the JSON API of the booru" in about["rai:dataCollection"]


@pytest.mark.parametrize(
    ("posts", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (9_999_999, "1M<n<10M"),
        (10_000_000, "10M<n<100M"),
        (10**9, "1B<n<10B"),
        (10**12, "n>1T"),
    ],
)
def test_size_category_of_any_size(posts: int, category: str) -> None:
    """The classes of Hugging Face, up to the largest."""
    assert size_category(posts) == category


def test_citation_has_two_keys_and_no_bare_ampersand(years: tuple[Tables, Tables]) -> None:
    """BibTeX takes the file as it is, also where the original's release of the same year is in it."""
    for tables in years:
        text = (tables.folder / "citation.bib").read_text()
        keys = re.findall(r"@misc\{([^,]+),", text)
        assert len(keys) == len(set(keys)) == 2
        assert citation_key(tables.year) == keys[0]
        assert not re.search(r"(?<!\\)&", text)


def test_charts_show_whole_labels_and_the_tallest_number() -> None:
    """No label leaves the drawing, none covers the next, and the tallest bar has its number."""
    for many in (1, 2, 7, 18, 21, 40):
        bars = [Bar(str(2000 + n), 5 if n != many // 2 else 123_456) for n in range(many)]
        svg = vertical_bars("Years", bars)
        assert ">123k</text>" in svg
        labels = re.findall(r'<text x="([\d.]+)" text-anchor="middle" y="[\d.]+">(\d{4})</text>', svg)
        assert labels
        places = [(float(x) - 14, float(x) + 14) for x, _ in labels]
        assert places[0][0] >= 0
        assert places[-1][1] <= 380
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(places))
