"""A small release whose tags go together, and whose 512px images are pictures: what curation is tried with."""

import io
import random
from pathlib import Path

import pyarrow as pa
from PIL import Image, ImageDraw

from danbooru_pipeline.curate.candidates import CandidateOptions, learn, write_candidates
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.io.parquet import write_parquet
from danbooru_pipeline.layout import Layout, px512_path
from danbooru_pipeline.release.tables.corrections import DECIDED_SCHEMA
from danbooru_pipeline_tests.support.side_tables import lines
from danbooru_pipeline_tests.support.yard import Yard

#: Tags of each kind of post; a post has nearly all of those of its kind.
KINDS = (
    ("cat", "cat_ears", "whiskers", "paws", "tail", "collar"),
    ("ocean", "beach", "swimsuit", "sand", "sky", "summer"),
    ("sword", "armor", "shield", "helmet", "knight", "castle"),
    ("cake", "fork", "plate", "cream", "strawberry", "table"),
)
MISSING = 0.15


def curated_yard(root: Path, posts: int = 240) -> tuple[Yard, set[tuple[int, str]]]:
    """A yard with these posts, and the pairs of post and tag that its posts show but do not have."""
    yard = Yard(Layout(root))
    draw = random.Random(22)
    missing: set[tuple[int, str]] = set()
    for number in range(1, posts + 1):
        post = 1000 * (number // 4) + number % 4 + 1
        shown = KINDS[draw.randrange(len(KINDS))]
        left_out = {tag for tag in shown[1:] if draw.random() < MISSING}
        missing |= {(post, tag) for tag in left_out}
        tags = " ".join(sorted({"1girl", "highres", *shown} - left_out))
        yard.post(post, rating="s", tag_string=tags, tag_string_general=tags, tag_string_meta="")
    yard.tables["tag_aliases"] = lines(
        [{"id": 1, "antecedent_name": "kitty", "consequent_name": "cat", "status": "active"}]
    )
    yard.tables["tag_implications"] = lines(
        [{"id": 1, "antecedent_name": "swimsuit", "consequent_name": "clothes", "status": "active"}]
    )
    yard.tables["wiki_pages"] = lines([{"id": 1, "title": "paws", "body": "The feet of an animal."}])
    return yard, missing


def draw_pictures(release: Path) -> None:
    """Replace the 512px images of a release by pictures that a browser can show."""
    for path in release.glob("512px/*/*.jpg"):
        post = int(path.stem)
        picture = Image.new("RGB", (512, 512), "white")
        colour = (37 * post % 256, 91 * post % 256, 151 * post % 256)
        ImageDraw.Draw(picture).ellipse((90, 60, 420, 450), fill=colour)
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=80)
        path.unlink()
        (release / px512_path(post)).write_bytes(data.getvalue())


def with_candidates(
    root: Path, posts: int = 240, *, least: float = 0.2
) -> tuple[Path, CurationFolder, set[tuple[int, str]]]:
    """A release with pictures, its folder of curation with candidates, and what its posts really lack."""
    yard, missing = curated_yard(root, posts)
    release = yard.release()
    folder = CurationFolder.of(yard.layout)
    write_candidates(learn(release), folder.candidates(yard.year), options=CandidateOptions(least=least))
    return release, folder, missing


def decide(layout: Layout, *rows: tuple[int, str, str, str | None]) -> None:
    """Write what reviewers agreed on: post, tag, sign and MD5."""
    more = {
        "reviewers": 2,
        "decided_at": "2022-01-01T00:00:00Z",
        "decided_in": "danbooru2021",
        "p": 0.5,
        "evidence": "",
    }
    listed = [{"post_id": post, "tag": tag, "sign": sign, "md5": md5, **more} for post, tag, sign, md5 in rows]
    table = pa.Table.from_pylist(listed, DECIDED_SCHEMA)
    write_parquet(layout.decided, iter([table]), schema=DECIDED_SCHEMA, dictionary=())
