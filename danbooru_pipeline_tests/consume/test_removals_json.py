"""JSON of any shape loses the rows of a removed post, or is named; nothing of it stays in silence."""

import json
import resource
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from danbooru_pipeline.consume.removals import apply_removals, json_pieces, plan_removals
from danbooru_pipeline.consume.removals.gone import Gone
from danbooru_pipeline.consume.removals.json_files import json_without
from danbooru_pipeline.consume.removals.json_pieces import encoding_of
from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline_tests.support.forked import run_module

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
GONE = {"id": 105, "file_name": "105.jpg", "tags": "x"}
KEPT = {"id": 106, "file_name": "106.jpg", "tags": "y"}
#: Name of a shape -> what it is before and after.
REMOVED: dict[str, tuple[Any, Any]] = {
    "list": ([GONE, KEPT], [KEPT]),
    "list that is empty then": ([GONE], []),
    "ids as text and as fractions": ([{"id": "105"}, {"id": 105.0}, {"post_id": 105}, KEPT], [KEPT]),
    "posts": ({"posts": [KEPT, GONE], "next": 7}, {"posts": [KEPT], "next": 7}),
    "rows of the data sets server": ({"rows": [{"row_idx": 0, "row": GONE}, {"row": KEPT}]}, {"rows": [{"row": KEPT}]}),
    "map by path, as kohya's": ({"a/105.jpg": {"tags": "x"}, "a/106": {"tags": "y"}}, {"a/106": {"tags": "y"}}),
    "map by name, and by path of Windows": ({"105": {}, "C:\\a\\105.png": {}, "106": {}}, {"106": {}}),
    "map of lists": ({"105.jpg": ["x"], "106.jpg": ["y"]}, {"106.jpg": ["y"]}),
    "map in a map": ({"v": 1, "images": {"105.jpg": {}, "106.jpg": {}}}, {"v": 1, "images": {"106.jpg": {}}}),
    "by number of the row": ({"0": GONE, "1": KEPT}, {"1": KEPT}),
    "wrapped": ({"post": GONE}, {}),
    "own ids": ({"things": [{"id": 3, "path": "105.jpg"}, {"id": 4}]}, {"things": [{"id": 4}]}),
    "COCO by id": (
        {
            "info": {"id": 105},
            "annotations": [{"id": 105, "image_id": 106, "category_id": 105}, {"id": 2, "image_id": 105}],
            "images": [{**GONE, "file_name": "COCO_000000000105.jpg"}, KEPT],
            "categories": [{"id": 105, "name": "cat"}],
        },
        {
            "info": {"id": 105},
            "annotations": [{"id": 105, "image_id": 106, "category_id": 105}],
            "images": [KEPT],
            "categories": [{"id": 105, "name": "cat"}],
        },
    ),
    "COCO by running numbers": (
        {
            "images": [{"id": 1, "file_name": "105.jpg"}, {"id": 105, "file_name": "7.jpg"}],
            "annotations": [{"id": 8, "image_id": 1}, {"id": 9, "image_id": 105}],
        },
        {"images": [{"id": 105, "file_name": "7.jpg"}], "annotations": [{"id": 9, "image_id": 105}]},
    ),
}
#: What names the post in a way that nobody knows.
UNCLEAR: dict[str, Any] = {
    "ids": {"ids": [105, 106]},
    "list of ids": [105, 106],
    "deep": {"a": {"b": [GONE]}},
    "pages": [{"posts": [GONE]}],
    "columns": {"file_name": {"0": "105.jpg"}, "tags": {"0": "x"}},
    "columns of ids alone": {"id": {"0": 105}, "post_ids": [105]},
    "split": {"columns": ["id", "tags"], "index": [0], "data": [[105, "x"]]},
    "paths": {"images": ["a/105.jpg", "a/106.jpg"], "captions": ["x", "y"]},
    "things with ids": {"things": [{"id": 105}]},
    "wrapped, and by its id alone": {"post": {"id": 105}},
    "results of a detector": [{"image_id": 105, "bbox": [1, 2, 3, 4]}],
    "row of another post": {**KEPT, "like": ["105.jpg"]},
}
#: What says 105 and means something else.
OTHER: dict[str, Any] = {
    "tags": [{"id": 7, "tags": [{"id": 105, "name": "x"}], "parent_id": 105, "score": 105, "bbox": [105, 1]}],
    "one row": {"id": 7, "tags": [{"id": 105}], "width": 105, "uploader": {"id": 105}},
    "other numbers": [{"id": 1050}, {"id": 5105, "file_name": "1105.jpg"}],
}


def planned(path: Path) -> Any:
    """What of a file, or of a folder, names post 105."""
    return plan_removals(path, {105, 999_999})


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("shape", REMOVED)
def test_rows_of_the_post_go(tmp_path: Path, shape: str, encoding: str, indent: int | None) -> None:
    """Compact or not, with a byte order mark and without: all else is what it was, and a second run finds none."""
    before, after = REMOVED[shape]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(before, indent=indent), encoding=encoding)
    plan = planned(tmp_path)
    assert (len(plan.changes), plan.unknown, plan.unreadable) == (1, (), ())
    apply_removals(plan, created_at=WHEN)
    assert json.loads(path.read_text(encoding=encoding)) == after
    assert encoding_of(path) == encoding
    again = planned(tmp_path)
    assert (again.changes, again.unknown) == ((), ())
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("shape", UNCLEAR)
def test_what_names_the_post_in_another_form_is_told(tmp_path: Path, shape: str, run: Callable[..., Result]) -> None:
    """It is counted among what was not looked into, its path is said, and it stays as it is."""
    path, feed = tmp_path / "t/x.json", tmp_path / "removed.txt"
    path.parent.mkdir()
    path.write_text(json.dumps(UNCLEAR[shape]))
    feed.write_text("105\n")
    done = run("apply-removals", path.parent, "--feed", feed)
    assert "not looked into, since their kind or form is unknown: 1 of .json" in done.output
    assert str(path) in done.output
    assert json.loads(path.read_text()) == UNCLEAR[shape]


@pytest.mark.parametrize("shape", OTHER)
def test_numbers_of_other_things_are_no_post(tmp_path: Path, shape: str) -> None:
    """Ids of tags and users, scores and parents stay, and nothing is said of them."""
    (tmp_path / "x.json").write_text(json.dumps(OTHER[shape]))
    plan = planned(tmp_path)
    assert (plan.changes, plan.unknown, plan.unreadable) == ((), (), ())


@pytest.mark.parametrize("text", ['{"id": 105,"file_name":"105.jpg"}', '\ufeff{\n "post_id": "105"\n}\n'])
def test_file_that_is_one_row_goes(tmp_path: Path, text: str) -> None:
    """Nothing of it would be left but an empty file, which is not JSON."""
    (tmp_path / "x.json").write_text(text)
    apply_removals(planned(tmp_path), created_at=WHEN)
    assert list(tmp_path.iterdir()) == []


def test_rest_of_a_file_keeps_its_text(tmp_path: Path) -> None:
    """Spaces, escapes, numbers and what is no UTF-8 are those of before."""
    path = tmp_path / "x.json"
    path.write_bytes(b'[ {"id": 1.50, "t": "\\u00e9 \xff"} ,\n  {"id":105},\n  {"id":2, "n": NaN, "big": 1e400}\n]\n')
    assert json_without(path, Gone(frozenset({105})), path) == 1
    assert path.read_bytes() == b'[ {"id": 1.50, "t": "\\u00e9 \xff"},\n  {"id":2, "n": NaN, "big": 1e400}\n]\n'


def test_lines_in_a_file_of_json_are_lines(tmp_path: Path) -> None:
    """Rows go from JSON lines under either name, after a byte order mark too; a line that is a list is told."""
    for name in ("x.json", "x.jsonl"):
        (tmp_path / name).write_text('\ufeff{"id":105}\n{"id":106}\n[{"id":105}]\n{"id":107,"tags":[{"id":105}]}\n')
    plan = planned(tmp_path)
    apply_removals(plan, created_at=WHEN)
    assert plan.unknown == ((".json", 1), (".jsonl", 1))
    for name in ("x.json", "x.jsonl"):
        assert (tmp_path / name).read_text() == '{"id":106}\n[{"id":105}]\n{"id":107,"tags":[{"id":105}]}\n'


@pytest.mark.parametrize(
    "text", ['[{"id":105}', '[{"id":7,"id":105}]', '[{"id":105}] x', "[" * 100_000 + "105", '[{"id":105} {"id":1}]']
)
def test_what_is_no_json_and_may_name_the_post_is_named(tmp_path: Path, text: str) -> None:
    """It stays as it is, and the removal is not finished."""
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ReleaseRefused, match=r"x\.json"):
        apply_removals(planned(tmp_path), created_at=WHEN)
    assert (tmp_path / "x.json").read_text() == text


def test_escaped_id_is_an_id(tmp_path: Path) -> None:
    """A digit may be written by its number."""
    (tmp_path / "x.json").write_text('[{"id":"\\u0031\\u0030\\u0035"},{"id":1}]')
    apply_removals(planned(tmp_path), created_at=WHEN)
    assert (tmp_path / "x.json").read_text() == '[{"id":1}]'


def test_pieces_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever what was read so far ends, in a number, a text or between, the result is the same."""
    before, after = REMOVED["COCO by id"]
    for chunk in range(1, 40):
        monkeypatch.setattr(json_pieces, "_CHUNK", chunk)
        path = tmp_path / "x.json"
        path.write_text(json.dumps(before, indent=1))
        assert json_without(path, Gone(frozenset({105})), path) == 2
        assert json.loads(path.read_text()) == after


def test_long_member_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into the memory that a file may take is not guessed about."""
    monkeypatch.setattr(json_pieces, "LONGEST", 2**17)
    (tmp_path / "x.json").write_text(json.dumps({"a": {"b": ["y" * 1000] * 400, "c": GONE}}))
    assert "x.json" in planned(tmp_path).unreadable[0]


def main(path: str) -> None:
    """Remove a post from a file, and print by how many MiB the process grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    json_without(Path(path), Gone(frozenset({105})), Path(path))
    sys.stdout.write(f"{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10}\n")


@pytest.mark.parametrize("form", ["[{}]", '{{"posts": [{}]}}'])
def test_large_file_takes_little_memory(tmp_path: Path, form: str) -> None:
    """Sixty megabytes in one line: the process grows by a fraction of that."""
    path, row = tmp_path / "x.json", json.dumps({"id": 1, "tags": "x" * 600})
    path.write_text(form.format(", ".join([row] * 50_000 + ['{"id": 105}'] + [row] * 50_000)))
    size = path.stat().st_size
    assert int(run_module(__name__, path, timeout=120)) < 40
    assert size - path.stat().st_size == len(', {"id": 105}')


if __name__ == "__main__":
    main(sys.argv[1])
