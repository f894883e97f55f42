"""A folder per class, as image classifiers read them: ``TAG/ID.jpg``, or ``train/TAG/ID.jpg`` with splits.

A post belongs to a class if it has that tag and no other of the classes; posts with several are left out by name, since
a classifier needs one answer. Folders are called after their tag with everything unusual escaped as in an address.
"""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.exports.image_folder import PICTURES
from danbooru_pipeline.consume.exports.splits import SplitOptions
from danbooru_pipeline.consume.exports.used_tags import CATEGORY_NUMBERS, count_used_tags, used_tags
from danbooru_pipeline.consume.select import Chosen
from danbooru_pipeline.errors import SettingsError

#: Reasons of posts that no class takes.
NO_CLASS, SEVERAL_CLASSES = "no_class", "several_classes"
#: Most bytes of a name on usual file systems.
_LONGEST: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(SplitOptions):
    """Options of `classification`.

    Attributes:
        classes: tags that are the classes; without them, all tags of `category` with enough posts.
        category: general, artist, copyright, character or meta.
        min_posts: fewest posts of such a tag.
    """

    classes: tuple[str, ...] = ()
    category: str = "character"
    min_posts: int = 20

    def __post_init__(self) -> None:
        SplitOptions.__post_init__(self)
        if self.category not in CATEGORY_NUMBERS:
            raise SettingsError(f"--category {self.category!r} does not exist; use {', '.join(CATEGORY_NUMBERS)}")


def write(job: Job) -> None:
    """Write the folders and ``classes.csv``."""
    options: Options = job.options
    classes = _classes(job)
    counts: Counter[str] = Counter()
    for post in job.chosen:
        found = [tag for tag in dict.fromkeys(_tags(post, options)) if tag in classes]
        if len(found) != 1:
            job.leave_out(post.id, SEVERAL_CLASSES if found else NO_CLASS)
        elif job.has_file(post, only=PICTURES):
            folder = job.target / options.split_of(post.id) / folder_name(found[0])
            folder.mkdir(parents=True, exist_ok=True)
            job.place(post, folder / post.path.rpartition("/")[2])
            counts[found[0]] += 1
            job.count(post.size)
    with (job.target / "classes.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("folder", "tag", "posts"))
        table.writerows((folder_name(tag), tag, counts[tag]) for tag in sorted(classes))


def _classes(job: Job) -> frozenset[str]:
    options: Options = job.options
    if options.classes:
        return frozenset(options.classes)
    count_used_tags(job.chosen.rows)
    number = CATEGORY_NUMBERS[options.category]
    tags = used_tags(job.chosen.rows)
    return frozenset(tag.name for tag in tags if tag.category == number and tag.posts >= options.min_posts)


def _tags(post: Chosen, options: Options) -> list[str]:
    text: str = post.tag_string if options.classes else getattr(post, f"tag_string_{options.category}")
    return text.split()


def folder_name(tag: str) -> str:
    """A tag as the name of one folder, from which `urllib.parse.unquote` makes the tag again.

    A tag with digits in front gets a mark, since trainers take those for repeats.
    """
    name = quote(tag, safe="!()+,;=@'~ -")
    if name.startswith((".", "-")):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    name = name.rstrip(".") + "%2E" * (len(name) - len(name.rstrip(".")))
    if re.match(r"\d+(_|$)", name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name if len(name) <= _LONGEST else name[:_LONGEST].rpartition("%")[0] or name[:_LONGEST]


FORM = Form(write=write, options=Options)
