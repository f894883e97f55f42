"""The project's engine as a program that fetches a list of files; the fetch benchmark runs it beside its peers.

``python fetch_ours.py BASE_URL LIST OUT PARALLEL [512]`` with lines ``name<TAB>md5<TAB>size``. Files that are kept
despite a different MD5 are marked in ``OUT/outcomes.json``, as the ledger marks them. Exit code 1 if any is missing.
With ``512``, worker processes also make each file's 512px image.
"""

import contextlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from danbooru_pipeline.fetch import BooruClient, download_file
from danbooru_pipeline.images import ImageJob, ImagePool
from danbooru_pipeline.io.atomic import fsync_folder
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.settings import Settings


def main() -> int:
    """Fetch all files and record the outcome of each."""
    base, listing, out, parallel = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    (out / "store").mkdir(parents=True, exist_ok=True)
    settings = Settings(root=out, api_url=base, cdn_url=base, downloads_parallel=parallel, min_free_bytes=0)
    outcomes: dict[str, str | None] = {}
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(BooruClient(settings))
        pool = stack.enter_context(ImagePool(os.cpu_count() or 1)) if sys.argv[5:] == ["512"] else None

        def fetch(line: str) -> tuple[str, str | None]:
            name, md5, size = line.split("\t")
            target = out / "files" / name
            if target.exists():  # a file has its name only when it was whole
                return name, None
            stem, _, ext = name.partition(".")
            url = f"{base}/{name}"
            post = Fetch(id=int(stem), md5=md5, ext=ext, file_size=int(size), rating="s", file_url=url)
            reason = download_file(client, post, target).reason
            if reason is None and pool is not None:
                # Without the pixel hash, since no peer computes anything like it.
                job = ImageJob(source=target, px512=out / "512px" / f"{stem}.jpg", hash_pixels=False)
                reason = pool.submit(job).result().px512_reason
            return name, None if reason is None else str(reason)

        with ThreadPoolExecutor(parallel) as threads:
            outcomes.update(threads.map(fetch, listing.read_text().splitlines()))
    if (out / "files").is_dir():
        fsync_folder(out / "files")  # as the bucket does before it writes its ledger
    (out / "outcomes.json").write_text(json.dumps(outcomes))
    return int(any(outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
