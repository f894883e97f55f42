"""``ROOT/curation/quality.html``: what was measured about tags, over all years, as one page without scripts.

It says what the ``quality.json`` of each year says, and is written again with each of them. Reviewers are counted,
not named, and no post is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from danbooru_pipeline.curate.estimate import Quality, wilson, write_quality
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.signals.calibration import Bin
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.release.documents.bar_charts import horizontal_bars
from danbooru_pipeline.release.documents.statistics import Bar
from danbooru_pipeline.release.templating import render

_PAGE = "tag_quality.html"
#: Of the chart: its side, and the room for numbers at its left and below.
_SIDE, _LEFT, _BELOW = 300, 34, 24
_NONE = "–"


@dataclass(frozen=True, slots=True)
class _Year:
    """What the page shows of a release beyond its numbers."""

    quality: Quality
    precision: str
    recall: str
    pace: str
    known_wrong: str
    error: str
    true_later: str
    curve: str
    bars: str


def write_measured(quality: Quality, folder: CurationFolder, year: int) -> None:
    """Write the numbers of a year, and the page of all years."""
    write_quality(quality, folder.quality(year))
    write_page(folder)


def write_page(folder: CurationFolder) -> None:
    """Write the page from the numbers of all years; a damaged file is named on it."""
    years: list[_Year] = []
    unreadable: list[str] = []
    for path in sorted(folder.path.glob("[0-9]*/quality.json"), reverse=True):
        try:
            years.append(_year_of(msgspec.json.decode(path.read_bytes(), type=Quality)))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            unreadable.append(f"The numbers of {path.parent.name} cannot be read ({error}); measure them again.")
    write_atomic(folder.page, render(_PAGE, years=years, unreadable=unreadable))


def _year_of(quality: Quality) -> _Year:
    bins, later = quality.yes_by_score.bins, quality.next_year
    known = sum(each["known"] for each in quality.reviewers)
    wrong = sum(each["known_wrong"] for each in quality.reviewers)
    counts = [Bar(f"{each.said:.2f}", each.cells) for each in bins]
    shares = [f"{each.true:.0%} yes" for each in bins]
    return _Year(
        quality=quality,
        precision=_mean([tag.precision.value for tag in quality.tags]),
        recall=_mean([tag.recall.value for tag in quality.tags]),
        pace=f"{quality.seconds / quality.answers:.2f}" if quality.answers else _NONE,
        known_wrong=f"{wrong:,} of {known:,}",
        error=f"{quality.yes_by_score.error:.3f}" if bins else _NONE,
        true_later=f"{later.done / later.proposed:.3f}" if later and later.proposed else _NONE,
        curve=calibration_chart(bins),
        bars=horizontal_bars("answers by probability", counts, values=shares, tips=shares),
    )


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}" if values else _NONE


def calibration_chart(bins: Sequence[Bin]) -> str:
    """The share of yes by the probability that was said, with its interval; on the diagonal the two are equal."""
    size = f"0 0 {_LEFT + _SIDE + 10} {_SIDE + _BELOW + 10}"
    return f'<svg viewBox="{size}" role="img" aria-label="share of yes by probability">{"".join(_parts(bins))}</svg>'


def _parts(bins: Sequence[Bin]) -> Iterator[str]:
    yield f'<path class="axis" d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>'
    for step in (0, 0.5, 1):
        yield f'<text class="value" x="{_LEFT - 6}" y="{_y(step) + 4}" text-anchor="end">{step:g}</text>'
        yield f'<text class="value" x="{_x(step)}" y="{_y(0) + 18}" text-anchor="middle">{step:g}</text>'
    if len(bins) > 1:
        yield f'<path class="line" d="M{"L".join(f"{_x(each.said)} {_y(each.true)}" for each in bins)}"/>'
    for each in bins:
        share = wilson(round(each.true * each.cells), each.cells)
        tip = f"said {each.said:.2f}, yes {share}, {each.cells:,} answers"
        yield f'<path class="line" d="M{_x(each.said)} {_y(share.low)}V{_y(share.high)}"/>'
        yield f'<circle cx="{_x(each.said)}" cy="{_y(each.true)}" r="3.5"><title>{tip}</title></circle>'


def _x(value: float) -> float:
    return round(_LEFT + value * _SIDE, 1)


def _y(value: float) -> float:
    return round(5 + (1 - value) * _SIDE, 1)
