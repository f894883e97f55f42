"""Opens exports with the tools that read them: run by the Python of .venv-validators, prints what each saw as JSON.

No module of the project is imported here: these readers know an export from its files alone.
"""

import asyncio
import json
import os
import sys
from pathlib import Path


def hugging_face(folder: Path) -> dict[str, object]:
    """Folders of images with captions, and shards."""
    from datasets import load_dataset

    seen: dict[str, object] = {}
    for name in ("captions", "images"):
        rows = load_dataset("imagefolder", data_dir=str(folder / name), split="train")
        texts = {Path(row["image"].filename).stem: row["text"] for row in rows}
        seen[name] = {"columns": rows.column_names, "texts": texts}
    splits = load_dataset("imagefolder", data_dir=str(folder / "classification"))
    seen["classification"] = {name: rows.features["label"].names for name, rows in splits.items()}
    seen["shards"] = load_dataset("webdataset", data_files=str(folder / "webdataset/wds/*.tar"), split="train").num_rows
    return seen


def web_dataset(folder: Path) -> list[int]:
    """Every sample of the shards, its image decoded."""
    import webdataset as wds

    shards = sorted(str(path) for path in (folder / "webdataset/wds").glob("*.tar"))
    samples = wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil").to_tuple("jpg", "json")
    return sorted(about["id"] for image, about in samples if image.size == (512, 512))


def hub_index(folder: Path) -> dict[str, object]:
    """A tar by its index, and the index that the tool makes itself."""
    from hfutils.index import tar_file_download, tar_get_index_info, tar_list_files

    tar = min((folder / "webdataset/wds").glob("*.tar"))
    index = folder / "webdataset/wds-index" / f"{tar.stem}.json"
    names = tar_list_files(str(tar), idx_file=str(index))
    tar_file_download(str(tar), names[0], str(folder / names[0]), idx_file=str(index))
    same = tar_get_index_info(str(tar), silent=True) == json.loads(index.read_bytes())
    return {"names": names, "size": (folder / names[0]).stat().st_size, "same": same}


def tables(folder: Path) -> dict[str, object]:
    """DuckDB and polars."""
    import duckdb
    import polars as pl

    with duckdb.connect(str(folder / "duckdb"), read_only=True) as db:
        posts = db.execute("SELECT count(*) FROM posts").fetchall()[0][0]
    rows = duckdb.read_csv(str(folder / "tags.csv"), header=False).fetchall()
    frame = pl.read_parquet(str(folder / "tagger/train.parquet"))
    csv = pl.read_csv(str(folder / "tagger/selected_tags.csv"))
    return {"posts": posts, "tags": len(rows), "train": frame.height, "classes": csv.height}


def sqlite(folder: Path) -> dict[str, object]:
    """sqlite-utils, and datasette's own pages."""
    import sqlite_utils
    from datasette.app import Datasette

    database = sqlite_utils.Database(str(folder / "booru.sqlite"))
    found = [row["name"] for row in database["tags"].search("hair")]
    keys = sorted((key.column, key.other_table) for key in database["post_tags"].foreign_keys)
    metadata = json.loads((folder / "booru.sqlite.metadata.yml").read_text())

    async def pages() -> dict[str, str]:
        shown = Datasette([str(folder / "booru.sqlite")], metadata=metadata)
        paths = ("/", "/booru", "/booru/posts", "/booru/tags?_search=hair", "/booru/posts/1", "/booru/post_tag_names")
        return {path: (await shown.client.get(path)).text for path in paths}

    return {"found": sorted(found), "keys": keys, "pages": asyncio.run(pages())}


def models(folder: Path) -> dict[str, object]:
    """The database of HakuBooru by models such as its own: tables, columns and enumerations are given by them."""
    import peewee as pw

    database = pw.SqliteDatabase(str(folder / "hakubooru/danbooru.db"))

    class Tag(pw.Model):  # type: ignore[misc]
        id = pw.IntegerField(primary_key=True)
        name = pw.CharField(unique=True)
        type = pw.IntegerField()
        popularity = pw.IntegerField()

        class Meta:
            database = None

    class Post(pw.Model):  # type: ignore[misc]
        id = pw.IntegerField(primary_key=True)
        created_at = pw.CharField()
        updated_at = pw.CharField()
        md5 = pw.CharField(null=True)
        has_large = pw.BooleanField()
        rating = pw.IntegerField()
        score = pw.IntegerField()
        file_ext = pw.CharField()

        class Meta:
            database = None

    class PostTagRelation(pw.Model):  # type: ignore[misc]
        post = pw.ForeignKeyField(Post, backref="post_tags")
        tag = pw.ForeignKeyField(Tag, backref="tag_posts")

        class Meta:
            database = None

    with database.bind_ctx([Tag, Post, PostTagRelation]):
        solo = Tag.get(Tag.name == "solo")
        chosen = Post.select().join(PostTagRelation).join(Tag).where(Tag.id << [solo.id])
        return {"solo": sorted(post.id for post in chosen), "popularity": solo.popularity}


def main() -> None:
    """Print everything."""
    # Here, not at the top: tests import this module for its path.
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    folder = Path(sys.argv[1])
    seen = hugging_face(folder) | {"wds": web_dataset(folder), "index": hub_index(folder), "tables": tables(folder)}
    print(json.dumps(seen | {"sqlite": sqlite(folder), "models": models(folder)}))


if __name__ == "__main__":
    main()
