"""The JSON files beside the posts: byte for byte what earlier versions wrote, and lossless when rewritten."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.drift import Columns
from danbooru_pipeline.posts.report import (
    SweepReport,
    find_posts_report,
    load_posts_report,
    read_report,
    write_posts_report,
)
from danbooru_pipeline.posts.table_reports import (
    TableReport,
    load_table_reports,
    read_table_reports,
    write_table_reports,
)
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, read_takedowns, write_takedowns

REPORT = SweepReport(
    name="api",
    taken_at=datetime(2022, 1, 21, 12, tzinfo=UTC),
    rows=2,
    rejected=1,
    max_id=7,
    min_created_at=datetime(2021, 5, 4, 3, 2, 1, 120_000, tzinfo=UTC),
    max_created_at=datetime(2021, 12, 31, tzinfo=UTC),
    beyond=200,
    sha256="ab" * 32,
    requests=3,
    drifted=1,
    columns=Columns(filled=("id", "created_at"), new={"media_asset": 1}),
)
POSTS_JSON = """{
  "source": {
    "name": "api",
    "taken_at": "2022-01-21T12:00:00Z",
    "rows": 2,
    "rejected": 1,
    "max_id": 7,
    "min_created_at": "2021-05-04T03:02:01.120000Z",
    "max_created_at": "2021-12-31T00:00:00Z",
    "beyond": 200,
    "announced": null,
    "modified": null,
    "as_of": null,
    "sha256": "abababababababababababababababababababababababababababababababab",
    "requests": 3,
    "drifted": 1,
    "columns": {
      "filled": [
        "id",
        "created_at"
      ],
      "new": {
        "media_asset": 1
      },
      "retyped": {}
    },
    "read": null,
    "read_up_to": null,
    "newest_id": null,
    "read_to_the_end": true
  }
}"""
TABLES_JSON = """{
  "tables": {
    "tags": {
      "status": "ok",
      "rows": 5,
      "problem": null,
      "modified": "2022-01-09T00:00:00Z",
      "sha256": null
    },
    "pools": {
      "status": "absent",
      "rows": 0,
      "problem": null,
      "modified": null,
      "sha256": null
    }
  }
}"""
TAKEDOWNS_JSON = """{
  "posts": {
    "7": {
      "paths": [
        "original/0007/7.png"
      ],
      "first_year": 2021
    },
    "8": {
      "paths": [],
      "first_year": null
    }
  },
  "unfinished": true
}"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty root."""
    return Layout(tmp_path)


def test_posts_json_keeps_its_bytes(layout: Layout) -> None:
    """A report is written with the keys, their order and the formatting of every version so far, and comes back."""
    write_posts_report(layout, 2021, REPORT)
    assert layout.posts_report(2021).read_text() == POSTS_JSON
    assert read_report(layout, 2021) == load_posts_report(layout, 2021).sweep == REPORT


def test_rewritten_report_loses_nothing(layout: Layout) -> None:
    """Another digest changes one value: keys that this version does not know stay, in their places."""
    written = POSTS_JSON.replace('"rows": 2,', '"rows": 2,\n    "of_tomorrow": [\n      1.5\n    ],')
    written = written[:-2] + ',\n  "more": true\n}'
    write_atomic(layout.posts_report(2021), written.encode())
    report = load_posts_report(layout, 2021)
    write_posts_report(layout, 2021, report.with_rows(sha256="cd" * 32))
    assert layout.posts_report(2021).read_text() == written.replace("ab" * 32, "cd" * 32)
    write_posts_report(layout, 2021, report.with_rows(sha256="cd" * 32, rows=1))
    assert layout.posts_report(2021).read_text() == written.replace("ab" * 32, "cd" * 32).replace(
        '"rows": 2', '"rows": 1'
    )
    assert report.source["of_tomorrow"] == [1.5]


def test_report_of_an_older_version_says_what_it_has(layout: Layout) -> None:
    """A report with fewer keys still gives last id, digest and rejected rows; only the whole report is missing."""
    write_atomic(layout.posts_report(2021), b'{"source": {"max_id": 9, "name": "api"}}')
    report = load_posts_report(layout, 2021)
    assert (report.max_id, report.sha256, report.rejected, report.sweep) == (9, "", 0, None)
    write_posts_report(layout, 2021, report.with_rows(sha256="x"))
    assert layout.posts_report(2021).read_text() == (
        '{\n  "source": {\n    "max_id": 9,\n    "name": "api",\n    "sha256": "x"\n  }\n}'
    )


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"source": 3}', b"\xff"])
def test_damaged_report_is_no_report(layout: Layout, data: bytes) -> None:
    """A file that is not a report is an error for those who need it, and None for those who only look."""
    write_atomic(layout.posts_report(2021), data)
    with pytest.raises(ValueError, match=r"."):
        load_posts_report(layout, 2021)
    assert find_posts_report(layout, 2021) is None
    assert read_report(layout, 2021) is None
    assert find_posts_report(layout, 2022) is None


def test_tables_json_keeps_its_bytes(layout: Layout) -> None:
    """The reports of side tables are written as here, come back, and a damaged file counts as none."""
    reports = {"tags": TableReport("ok", 5, modified=datetime(2022, 1, 9, tzinfo=UTC)), "pools": TableReport("absent")}
    write_table_reports(layout, 2021, reports)
    assert layout.side_tables_report(2021).read_text() == TABLES_JSON
    assert load_table_reports(layout, 2021) == read_table_reports(layout, 2021) == reports
    write_atomic(layout.side_tables_report(2021), b'{"tables": 1}')
    with pytest.raises(ValueError, match="tables"):
        load_table_reports(layout, 2021)
    assert read_table_reports(layout, 2021) == {}


def test_takedowns_json_keeps_its_bytes(layout: Layout) -> None:
    """The list of takedowns is written as ever and comes back; a damaged one stops everything."""
    takedowns = Takedowns(
        posts={7: TakenDown(paths=("original/0007/7.png",), first_year=2021), 8: TakenDown()}, unfinished=True
    )
    write_takedowns(layout, takedowns)
    assert (layout.store / "takedowns.json").read_text() == TAKEDOWNS_JSON
    assert read_takedowns(layout) == takedowns
    write_atomic(layout.takedowns, b'{"posts": ')
    with pytest.raises(StoreError, match="restore it from a backup"):
        read_takedowns(layout)
