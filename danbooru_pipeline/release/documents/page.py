"""``index.html``: the release on one page that makes no network request.

Style, charts and sample images are inside the file; there is no script; text from tags, names and settings is escaped.
Samples have one of the release's SFW ratings.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from markupsafe import Markup

from danbooru_pipeline.progress import counted
from danbooru_pipeline.release.checksums import ARCHIVE
from danbooru_pipeline.release.documents.bar_charts import horizontal_bars, vertical_bars
from danbooru_pipeline.release.documents.datacite import description_of, identifier_of
from danbooru_pipeline.release.documents.statistics import Bar, Statistics, TagBar
from danbooru_pipeline.release.documents.wording import missing, rating_names
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.templating import render


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart with its heading."""

    title: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Sample:
    """A thumbnail of a 512px image, as a ``data:`` URL."""

    id: int
    path: str
    data: str


def render_page(values: Mapping[str, Any], samples: Sequence[Sample]) -> bytes:
    """Render the page of a release, with these samples."""
    numbers: Statistics = values["stats"]
    plots = list(_plots(numbers, values["release"]))
    values = {**values, "json_ld": _json_ld(values["release"], values)}
    return render("index.html", plots=plots, samples=samples, **values)


def _json_ld(release: Release, values: Mapping[str, Any]) -> Markup:
    """The release in schema.org's words, which search engines for datasets read from the page: data, and no script."""
    address = values["address"]
    about = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": f"{values['title']} {release.version}",
        "description": description_of(release, values),
        "version": release.version,
        "datePublished": values["day"],
        "temporalCoverage": f"../{release.cutoff[:10]}",
        "isAccessibleForFree": True,
        "creator": [{"@type": "Organization", "name": name} for name in (values["maker"], "Danbooru community")],
        "keywords": ["illustration", "anime", "tags", "image classification"],
        # No licence covers the works; the notice says what applies.
        "license": f"{address}NOTICE.md",
        "distribution": [
            {"@type": "DataDownload", "encodingFormat": kind, "contentUrl": f"{address}{name}"}
            for name, kind in ((ARCHIVE, "application/x-xz"), ("parquet/", "application/vnd.apache.parquet"))
        ],
        **({"url": address} if address else {}),
        **({"isBasedOn": identifier_of(release.previous, values["url"])} if release.previous else {}),
    }
    text = msgspec.json.encode(about).decode()
    for sign in "<>&":  # what could end the element
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - no sign of HTML is left in it


def _plots(numbers: Statistics, release: Release) -> Iterator[Plot]:
    def plot(title: str, svg: str) -> Plot:
        return Plot(title, Markup(svg))  # noqa: S704 - made by `bar_charts`, which escapes every text

    names = rating_names(release.year)
    yield plot("Posts by year of upload", vertical_bars("Posts by year of upload", numbers.years))
    counts = {bar.name: bar.count for bar in numbers.ratings}
    ratings = [
        Bar(names.get(name, name), counts[name]) for name in sorted(counts, key=lambda name: (*names, name).index(name))
    ]
    yield plot("Ratings", horizontal_bars("Ratings", ratings))
    yield plot("File types", horizontal_bars("File types", numbers.types))
    yield plot("Tags per post", vertical_bars("Tags per post", numbers.tags_per_post))
    yield plot("Top tags", horizontal_bars("Top tags", list(_bars(numbers.top_tags))))
    yield plot(f"Fastest-growing tags: share of posts from {release.year}", _growing_bars(numbers.growing))
    yield plot("Sizes of originals", horizontal_bars("Sizes of originals", numbers.sizes))
    yield plot(
        "Originals that are not here, by reason", horizontal_bars("Missing originals", _reasons(release, "original"))
    )
    yield plot("No 512px image, by reason", horizontal_bars("Missing 512px images", _reasons(release, "px512")))


def _growing_bars(tags: Sequence[TagBar]) -> str:
    """Bars as long as the share of posts that are new; how many that is, of how many, stands in the tooltips."""
    bars = [Bar(tag.name, round(10_000 * tag.fresh / tag.count)) for tag in tags]
    return horizontal_bars(
        "Fastest-growing tags",
        bars,
        values=[f"{100 * tag.fresh / tag.count:.0f} %" for tag in tags],
        tips=[f"{tag.fresh:,} of {counted(tag.count, 'post')}" for tag in tags],
    )


def _bars(tags: Iterable[TagBar]) -> Iterator[Bar]:
    return (Bar(tag.name, tag.count) for tag in tags)


def _reasons(release: Release, what: str) -> list[Bar]:
    return [Bar(bar.name.replace("_", " "), bar.count) for bar in missing(release, what)]
