"""The command `export` and a subcommand per form: its own options, those that all share, progress, and what was left.

Forms and options are named here so that help imports nothing; a test compares them with those of `consume.exports`.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from danbooru_pipeline.cli.consumers import names_option, selection_options
from danbooru_pipeline.cli.reading import held_release
from danbooru_pipeline.cli.shared import complain, say, tell
from danbooru_pipeline.progress import counted

Option = Callable[[Callable[..., Any]], Callable[..., Any]]

#: Form -> what it writes.
FORMS: Final[dict[str, str]] = {
    "sqlite": "SQLite with every column, the site's tag ids, side tables, text search; metadata.yml for datasette.",
    "duckdb": "A DuckDB database of posts, files, tags and side tables.",
    "captions": "ID.jpg beside ID.txt with its tags, for trainers of image generators.",
    "images": "Images in another size and format, as an ImageFolder with captions. A killed export resumes.",
    "faces": "Boxes that an ONNX detector of yours finds, as Parquet, and crops. A killed export resumes.",
    "webdataset": "WebDataset: one tar per bucket with ID.jpg and ID.json, and an index that hfutils reads.",
    "classification": "A folder of images per tag, as image classifiers read them.",
    "tagger": "selected_tags.csv and a table per split, for training taggers.",
    "tags-csv": 'name,category,count,"aliases", as autocomplete tools read it.',
    "hakubooru": "HakuBooru's SQLite and tars.",
    "deepdanbooru": "DeepDanbooru's project: images/ab/MD5.ext, danbooru.sqlite, tags.txt.",
    "kaggle": "A Kaggle dataset: a sample of SFW 512px images in zip files, and a table.",
    "originals": "BUCKET/ID.EXT with the bytes that the site served, and MD5SUMS.",
}

_CAPTION: Final[tuple[Option, ...]] = (
    names_option(
        "--order",
        default="count,character,copyright,general",
        help="Parts of a caption, in order: count, character, copyright, general, artist, meta, rating, quality.",
    ),
    names_option("--blacklist", help="Leave these tags out of captions."),
    click.option("--blacklist-file", type=click.Path(path_type=Path), help="The same, one tag a line."),
    click.option("--underscores", is_flag=True, help="Keep underscores; kaomoji like >_< always keep theirs."),
    click.option("--escape", is_flag=True, help="Put a backslash before parentheses."),
    click.option("--drop", type=float, default=0.0, show_default=True, help="Share of general tags to leave out."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed for --drop."),
    click.option("--separator", default=", ", show_default=True, help="Between the tags of a caption."),
)
_FOLDER: Final[tuple[Option, ...]] = (
    click.option("--flat", is_flag=True, help="Put images into TARGET itself, instead of into REPEATS_NAME/."),
    click.option(
        "--repeats", type=int, default=1, show_default=True, help="How often trainers show an image an epoch."
    ),
    click.option("--folder-name", default="danbooru", show_default=True, help="NAME in the folder REPEATS_NAME."),
    click.option("--kohya-json", is_flag=True, help="Also write meta_cap.json, the metadata of kohya's trainers."),
)
_TABLES: Final[tuple[Option, ...]] = (
    click.option("--only-with-file", is_flag=True, help="Leave posts out that have no file in the tree."),
)
_SPLITS: Final = names_option("--splits", default="", help="Percent of train, validation and test, like 90,5,5.")
#: Form -> its own options.
_OPTIONS: Final[dict[str, tuple[Option, ...]]] = {
    "sqlite": _TABLES,
    "duckdb": _TABLES,
    "deepdanbooru": (
        click.option(
            "--tag-limit", type=int, default=10_000, show_default=True, help="Maximum number of tags per category."
        ),
        click.option("--min-posts", type=int, default=500, show_default=True, help="Fewest posts of a tag."),
        click.option(
            "--rating-tags/--no-rating-tags", default=True, show_default=True, help="End tags.txt with rating:general …"
        ),
    ),
    "captions": (*_CAPTION, *_FOLDER),
    "images": (
        click.option("--size", type=int, default=1024, show_default=True, help="Side in pixels; 0 keeps sizes."),
        click.option(
            "--fit",
            type=click.Choice(["inside", "pad", "crop", "buckets"]),
            default="inside",
            show_default=True,
            help="The whole picture; padded or cut to a square; cut to a training bucket.",
        ),
        click.option("--max-pixels", metavar="4M", help="Shrink larger pictures to this area."),
        click.option(
            "--format",
            type=click.Choice(["jpg", "webp", "png", "jxl"]),
            default="jpg",
            show_default=True,
            help="Of the files.",
        ),
        click.option("--quality", type=click.IntRange(1, 100), default=90, show_default=True, help="Of the files."),
        click.option(
            "--background",
            type=click.Choice(["white", "black", "contrast"]),
            default="contrast",
            show_default=True,
            help="Behind transparent pictures.",
        ),
        click.option("--enlarge", is_flag=True, help="Enlarge pictures that are smaller than their frame."),
        click.option("--text-files", is_flag=True, help="Also write each caption to ID.txt."),
        click.option("--workers", type=int, default=0, help="Processes that render; by default one a processor."),
        *_CAPTION,
        *_FOLDER,
    ),
    "faces": (
        click.option("--model", type=click.Path(path_type=Path), metavar="FILE.onnx", help="The detector; required."),
        click.option(
            "--boxes",
            type=click.Choice(["auto", "yolov5", "yolov8", "corners"]),
            default="auto",
            show_default=True,
            help="What its output means (docs/consumers.md).",
        ),
        click.option("--min-box-score", type=float, default=0.3, show_default=True, help="Lowest score of a box."),
        click.option(
            "--most-overlap",
            type=float,
            default=0.5,
            show_default=True,
            help="Drop the weaker of two boxes that overlap by more than this (intersection over union).",
        ),
        click.option(
            "--input-size", type=int, default=640, show_default=True, help="Side of the input, if the model takes any."
        ),
        click.option("--crops", is_flag=True, help="Write crops/ID_NUMBER.jpg, too."),
        click.option("--scale", type=float, default=1.5, show_default=True, help="Size of a crop in boxes."),
        click.option("--crop-size", type=int, default=512, show_default=True, help="Shrink crops to it; 0 does not."),
        click.option("--workers", type=int, default=0, help="Processes that look; by default one a processor."),
    ),
    "classification": (
        names_option("--classes", help="Tags that are the classes; else those of --category."),
        click.option("--category", default="character", show_default=True, help="Category of the tags."),
        click.option("--min-posts", type=int, default=20, show_default=True, help="Fewest posts of such a tag."),
        _SPLITS,
    ),
    "tagger": (
        click.option("--min-posts", type=int, default=600, show_default=True, help="Fewest posts of a tag."),
        names_option("--categories", default="general,character", help="Categories of the tags."),
        names_option("--splits", default="90,5,5", help="Percent of train, validation and test."),
    ),
    "tags-csv": (
        click.option("--min-posts", type=int, default=1, show_default=True, help="Fewest posts of a tag."),
        click.option(
            "--deprecated",
            type=click.Choice(["apart", "mark", "keep"]),
            default="apart",
            show_default=True,
            help="Deprecated tags: in a file of their own, in the list with a fifth column, or in the list.",
        ),
        click.option("--header", is_flag=True, help="Begin with the names of the columns."),
    ),
    "hakubooru": (
        click.option("--images/--no-images", default=True, show_default=True, help="Write the tars of images, too."),
    ),
}
#: Options that all forms have.
SHARED: Final[tuple[Option, ...]] = (
    click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only N posts, those with the lowest ids."),
    click.option("--copy", is_flag=True, help="Copy files instead of linking them, for tools that edit in place."),
    click.option("--dry-run", is_flag=True, help="Print how many posts and bytes would be written."),
)
_OF_SHARED: Final = ("release_dir", "target", "limit", "copy", "dry_run")


@click.group()
def export() -> None:
    """Export posts of a release to a new TARGET, in a form that another tool reads.

    TARGET must not exist; it appears once the export is complete.
    """


def _command(form: str, text: str) -> click.Command:
    selection: list[str] = []

    def run(**values: Any) -> None:
        _run(form, values, selection=selection)

    own = _OPTIONS.get(form, ())
    for option in reversed((*own, *SHARED)):
        run = option(run)
    tree = "original" if form in {"images", "faces", "originals"} else "512px"
    run = selection_options(run, tree=tree, names=selection)
    run = click.argument("target", type=click.Path(path_type=Path))(run)
    run = click.argument("release_dir", type=click.Path(path_type=Path))(run)
    return click.command(form, help=text)(run)


for _form, _text in FORMS.items():
    export.add_command(_command(_form, _text))


def _run(form: str, values: dict[str, Any], *, selection: list[str]) -> None:
    from danbooru_pipeline.consume import Selection, plan_export
    from danbooru_pipeline.consume.exports import EXPORTS

    wanted = Selection(**{name: values.pop(name) for name in selection})
    shared = {name: values.pop(name) for name in _OF_SHARED}
    options = options_of(EXPORTS[form].options, values)
    more = {name: shared[name] for name in ("limit", "copy")}
    with held_release(shared["release_dir"]) as held:
        plan = plan_export(form, held, shared["target"], selection=wanted, options=options, **more)
        if not shared["dry_run"]:
            _apply(plan)
            return
    for line in plan.lines():
        tell(line)


def _apply(plan: Any) -> None:
    from danbooru_pipeline.consume.exports import apply_export
    from danbooru_pipeline.operate.terminal import TerminalLine

    line = TerminalLine()
    if line.is_live:
        line.begin(f"export {plan.form_name}", plan.posts)
        report = apply_export(plan, watch=lambda gauge: line.show("", gauge))
        line.clear()
    else:
        report = apply_export(plan, report=say)
    say(f"{counted(report.posts, 'post')} in {plan.target}")
    if report.left_out:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(report.left_out.items()))
        left = counted(report.left_out.total(), "post was", "posts were")
        say(f"{left} left out ({reasons}); left_out.csv names them")
    if report.left_out["missing_file"]:
        complain(f"this copy of the release lacks {counted(report.left_out['missing_file'], 'file')}; fetch them")
        sys.exit(1)


def options_of(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """An instance of a form's class of options, nested ones too, from the values of the command line."""
    import dataclasses
    import typing

    known = dict(values)
    if blacklist := known.pop("blacklist_file", None):
        known["blacklist"] = (*known["blacklist"], *_lines_of(blacklist))
    if "max_pixels" in known:
        known["max_pixels"] = _pixels(known["max_pixels"])
        known["size"] = known["size"] or None
    hints = typing.get_type_hints(kind)
    nested = {
        each.name: options_of(hints[each.name], known)
        for each in dataclasses.fields(kind)
        if dataclasses.is_dataclass(hints[each.name])
    }
    plain = {each.name: known[each.name] for each in dataclasses.fields(kind) if each.name in known}
    return kind(**plain, **nested)


def _lines_of(path: Path) -> list[str]:
    from danbooru_pipeline.errors import SettingsError

    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise SettingsError(f"--blacklist-file {path} cannot be read ({error}); give a text file") from error


def _pixels(text: str | int | None) -> int | None:
    """A number of pixels, like ``4M`` or ``1048576``."""
    from danbooru_pipeline.errors import SettingsError

    if text is None or isinstance(text, int):
        return text
    factor = {"k": 10**3, "m": 10**6}.get(text[-1:].lower(), 1)
    number = text[:-1] if factor > 1 else text
    try:
        pixels = int(float(number) * factor)
    except (ValueError, OverflowError):
        pixels = 0
    if pixels < 1:
        raise SettingsError(f"--max-pixels {text!r} is not a number of pixels; give one like 4M or 1048576")
    return pixels
