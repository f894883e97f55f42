"""docs/search.md has each metatag, order and field of the index, as the code has them."""

from pathlib import Path

import danbooru_pipeline
from danbooru_pipeline.search.metatags import METATAGS, ORDERS, UNSUPPORTED
from danbooru_pipeline.search.postings import FIELDS

PAGE = (Path(danbooru_pipeline.__file__).parents[1] / "docs/search.md").read_text()


def test_each_metatag_has_its_row() -> None:
    """The table of metatags is the one that the code has; on failure it is printed, to be pasted."""
    rows = [f"| `{tag.example}` | {tag.meaning} | {tag.differs} |" for tag in METATAGS.values()]
    table = "\n".join(["| metatag | posts by | what differs from the site |", "|---|---|---|", *rows])
    assert table in PAGE, table


def test_orders_and_what_cannot_be_searched_are_named() -> None:
    """Every order, and every metatag of the site that is refused, is on the page."""
    assert ", ".join(f"`{name}`" for name in ORDERS) in PAGE, ", ".join(f"`{name}`" for name in ORDERS)
    reasons = dict.fromkeys(UNSUPPORTED.values())
    for reason in reasons:
        names = ", ".join(f"`{name}`" for name, why in UNSUPPORTED.items() if why == reason)
        assert f"{names} ({reason})" in PAGE, f"{names} ({reason})"


def test_fields_of_the_index_are_listed() -> None:
    """The page has each field that the index has."""
    table = "\n".join(["| field | values |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in FIELDS.items())])
    assert table in PAGE, table
