"""The real tools that people will open a release with, each on a real release."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import read_release
from danbooru_pipeline.release.checksums import parse_sums
from danbooru_pipeline_tests.support import readers, validators
from danbooru_pipeline_tests.support.programs import program_of_validators


def tool(name: str, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of .venv-validators; `make validators` makes it."""
    command = [program_of_validators(name), *map(str, arguments)]
    for _ in range(2):
        done = subprocess.run(
            command, env=os.environ | (env or {}), capture_output=True, text=True, check=False, timeout=300
        )
        # A reader that stopped early may abort while it exits, its work done: threads of Arrow read on.
        if done.returncode != -signal.SIGABRT:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def seen(releases: Layout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Hugging Face, WebDataset, feedparser and torf saw in the newest release."""
    home = str(tmp_path_factory.mktemp("hf"))
    done = tool("python", validators.__file__, releases.release(2022), env={"HF_HOME": home, "PYTHONPATH": ""})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def number(release: Path, query: str) -> int:
    """One number that DuckDB finds in a release."""
    tables = {
        "POSTS": "parquet/posts-*.parquet",
        "FILES": "manifest/files-*.parquet",
        "JSONL": "metadata/2022/posts*.json",
    }
    for name, pattern in tables.items():
        options = ", format='newline_delimited'" if name == "JSONL" else ""
        reader = "read_json" if name == "JSONL" else "read_parquet"
        query = query.replace(name, f"{reader}('{release / pattern}'{options})")
    return int(duckdb.connect().execute(query).fetchall()[0][0])


def test_hugging_face_loads_every_table_of_the_card(releases: Layout, seen: dict[str, Any]) -> None:
    """Each config loads offline, with the rows that RELEASE.json counts."""
    counts = read_release(releases.release(2022)).counts
    assert seen["rows"]["posts"] == seen["rows"]["files"] == counts.posts
    assert {"posts", "files", "tags", "pools"} <= set(seen["rows"])


def test_image_folder_has_tags_and_no_labels(releases: Layout, seen: dict[str, Any]) -> None:
    """``512px/`` is an ImageFolder with one row an image, tags and no label made of buckets."""
    assert seen["images"] == read_release(releases.release(2022)).counts.px512
    assert "label" not in seen["columns"]
    assert seen["size"] == [512, 512]
    assert len(seen["tags"]) > 1


def test_shards_hold_every_512px_image(releases: Layout, seen: dict[str, Any]) -> None:
    """Hugging Face and WebDataset itself read the same samples, images decoded."""
    ids = sorted(int(path.stem) for path in releases.release(2022).glob("512px/*/*.jpg"))
    assert seen["shards"] == len(ids)
    assert {"jpg", "json"} <= set(seen["shard_columns"])
    assert seen["wds"] == {"ids": ids, "sizes": [[512, 512]]}


def test_feed_and_torrent_are_well_formed(seen: dict[str, Any]) -> None:
    """The feed has an entry a release, newest first; the torrent is of the archive beside it."""
    assert not seen["bozo"]
    assert seen["entries"] == ["danbooru2022 2022.0", "danbooru2021 2021.0"]
    assert seen["torrent"] is True


def test_provenance_is_a_statement_of_in_toto(releases: Layout, seen: dict[str, Any]) -> None:
    """The types of in-toto and SLSA take every field; the subjects are what SHA256SUMS lists, and inputs are named."""
    folder = releases.release(2022)
    sums = parse_sums((folder / "SHA256SUMS").read_bytes())
    del sums["provenance.intoto.jsonl"]
    assert seen["provenance"]["subjects"] == sums
    assert seen["provenance"]["type"] == "https://slsa.dev/provenance/v1"
    assert {"manifest", "posts", "danbooru2021/SHA256SUMS"} <= set(seen["provenance"]["dependencies"])
    assert seen["provenance"]["lines"] == 1


def test_datacite_and_json_ld_are_valid(releases: Layout, seen: dict[str, Any]) -> None:
    """DataCite 4.5 accepts the description, which names the year before; the page's JSON-LD has words of schema.org."""
    release = read_release(releases.release(2022))
    relations = {each["relationType"]: each["relatedIdentifier"] for each in seen["datacite"]["relatedIdentifiers"]}
    assert "danbooru2021" in relations["IsNewVersionOf"]
    assert seen["datacite"]["version"] == seen["page"]["version"] == release.version
    assert seen["unknown"] == []
    assert seen["page"]["@type"] == "Dataset"
    assert f"{release.counts.posts:,} posts" in seen["page"]["description"]


def test_readers_read_the_same_values(releases: Layout) -> None:
    """pandas, polars, DuckDB and fastparquet give pyarrow's values, times included, and one year's rows a folder.

    fastparquet has no lists of objects: the column `tags` is empty there, and the `tag_string` columns are not. It
    also cuts zero bytes off the end of hashes.
    """
    done = tool("python", readers.__file__, releases.release(2022), env={"PYTHONPATH": ""})
    found = json.loads(done.stdout)
    others = [each for each in found["differences"] if each[2] not in {"px512_dhash", "px512_phash"}]
    assert others == [["fastparquet", "parquet/posts-00000-of-00001.parquet", "tags"]]
    assert {reader for reader, _, _ in found["differences"]} == {"fastparquet"}
    assert set(found["folder"].values()) == {read_release(releases.release(2022)).counts.posts}


def test_croissant_validates_and_loads(releases: Layout) -> None:
    """``mlcroissant`` accepts the description, and loads records of every record set by it."""
    path = releases.release(2022) / "croissant.json"
    done = tool("mlcroissant", "validate", "--jsonld", path)
    assert "WARNING" not in done.stderr
    for record_set in json.loads(path.read_bytes())["recordSet"]:
        loaded = tool("mlcroissant", "load", "--jsonld", path, "--record_set", record_set["name"], "--num_records", 3)
        assert record_set["field"][0]["@id"] in loaded.stdout + loaded.stderr


def test_citation_validates(releases: Layout) -> None:
    """``cffconvert`` accepts CITATION.cff; the BibTeX names the maker and cites the original."""
    tool("cffconvert", "--validate", "-i", releases.release(2022) / "CITATION.cff")
    bibtex = (releases.release(2022) / "citation.bib").read_text()
    assert "author = {Example \\& Archive and Danbooru community}" in bibtex
    assert "@misc{danbooru2021," in bibtex
    assert bibtex.count("{") == bibtex.count("}")


def test_tables_are_equal(releases: Layout) -> None:
    """JSON lines, Parquet and manifest have the same rows; SFW rows with an image are the files in ``512px/``."""
    folder = releases.release(2022)
    posts = number(folder, "SELECT count(*) FROM POSTS")
    assert posts == number(folder, "SELECT count(*) FROM FILES") == number(folder, "SELECT count(*) FROM JSONL")
    assert posts == number(
        folder, "SELECT count(*) FROM POSTS p JOIN FILES f ON p.id = f.id JOIN JSONL j ON j.id::BIGINT = p.id"
    )
    images = len(list(folder.glob("512px/*/*.jpg")))
    query = (
        "SELECT count(*) FROM POSTS p JOIN FILES f ON p.id = f.id WHERE p.rating IN ('g', 's') AND px512_status = 'ok'"
    )
    assert number(folder, query) == images
    sfw = "SELECT count(*) FROM FILES WHERE rating IN ('g', 's') AND px512_reason IS NULL"
    assert number(folder, sfw) == images


@pytest.mark.needs("sha256sum", "xz", "tar")
def test_common_tools_accept_sums_and_archive(releases: Layout) -> None:
    """``sha256sum -c`` on everything, ``xz -t``, and GNU tar, whose first member is metadata."""
    folder = releases.release(2022)
    for sums in ("SHA256SUMS", *sorted(path.relative_to(folder).as_posix() for path in folder.glob("checksums/*/*"))):
        subprocess.run(["sha256sum", "--quiet", "--strict", "-c", sums], cwd=folder, check=True)
    for name in ("metadata.json.tar.xz", "filelist.txt.xz"):
        subprocess.run(["xz", "-t", name], cwd=folder, check=True)
    listed = subprocess.run(
        ["tar", "-tJf", "metadata.json.tar.xz"], cwd=folder, check=True, capture_output=True, text=True
    )
    names = listed.stdout.splitlines()
    assert names[0].startswith("metadata/2021/")
    assert {name for name in names if not name.endswith("/")} == {
        path.relative_to(folder).as_posix() for path in folder.glob("metadata/*/*")
    }
