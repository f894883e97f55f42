"""Reads a release from the Hub with the clients that people have: run by the Python of .venv-validators.

``hub_readers.py DATA_SET FOLDER``, with the Hub's address in HF_ENDPOINT. `datasets` loads every table of the card,
as files and as a stream, and every tar; hfutils reads the index of each tar and every image by its range. Tables
become ``FOLDER/NAME.parquet``; names and digests are printed as JSON. No module of the project is imported here.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

TREES = ("512px", "original")


def tables(name: str, folder: Path) -> dict[str, bool]:
    """Load each config with `datasets`. Returns whether its stream has the same rows."""
    from datasets import get_dataset_config_names, load_dataset

    same = {}
    for config in get_dataset_config_names(name):
        loaded = load_dataset(name, config, split="train")
        loaded.to_parquet(folder / f"{config}.parquet")
        same[config] = list(load_dataset(name, config, split="train", streaming=True)) == loaded.to_list()
    return same


def samples(name: str) -> dict[str, str]:
    """Name -> SHA-256 of each image, as `datasets` finds it in the tars."""
    from datasets import Image, load_dataset

    found = {}
    for tree in TREES:
        loaded = load_dataset(name, data_files={"train": f"{tree}/*.tar"}, split="train")
        for row in loaded.cast_column("jpg", Image(decode=False)):
            found[f"{tree}/{row['__key__']}.jpg"] = hashlib.sha256(row["jpg"]["bytes"]).hexdigest()
    return found


def members(name: str, folder: Path) -> dict[str, Any]:
    """Name -> SHA-256 of each image that hfutils fetches by its range; whether each index is of its tar."""
    import hfutils.index.fetch as by_index
    from hfutils.index import hf_tar_file_download, hf_tar_list_files, hf_tar_validate
    from huggingface_hub import HfApi
    from huggingface_hub.file_download import http_get

    def without_proxies(*given: Any, proxies: None, **named: Any) -> None:
        """Leave out what hfutils 0.13.0 passes, and huggingface_hub has had no use for since its version 1."""
        http_get(*given, **named)

    by_index.http_get = without_proxies
    found, valid = {}, {}
    for path in HfApi().list_repo_files(name, repo_type="dataset"):
        if not path.endswith(".tar"):
            continue
        valid[path] = hf_tar_validate(name, path)
        for member in hf_tar_list_files(name, path):
            hf_tar_file_download(name, path, member, str(folder / "member"), silent=True)
            digest = hashlib.sha256((folder / "member").read_bytes()).hexdigest()
            found[f"{path.partition('/')[0]}/{member}"] = digest
    return {"digests": found, "valid": valid}


def main() -> None:
    """Print everything."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    print(json.dumps({"same": tables(name, folder), "samples": samples(name), "members": members(name, folder)}))


if __name__ == "__main__":
    main()
