"""Peak memory of fetching and image work for one bucket, in MB: ``python fetch_memory.py POSTS``.

All posts share one picture of ordinary size. The result is the larger of this process and its largest image worker.
"""

import hashlib
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pyvips

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import posts_table, write_posts
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.originals import build_originals

HERE = Path(__file__).parent


def main() -> None:
    """Build a bucket and print the peak."""
    posts = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        root, files = Path(name) / "root", Path(name) / "files"
        files.mkdir()
        picture = pyvips.Image.gaussnoise(1200, 900, mean=128, sigma=40).gaussblur(3).cast("uchar")
        data = picture.bandjoin([picture, picture]).copy(interpretation="srgb").jpegsave_buffer(Q=88)
        (files / "1.jpg").write_bytes(data)
        command = [sys.executable, str(HERE / "fetch_server.py"), str(files), "plain"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            build(root, f"http://127.0.0.1:{int(server.stdout.readline())}", data, posts)
            server.kill()
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(peak // 1024)


def build(root: Path, url: str, data: bytes, posts: int) -> None:
    """One bucket with that many posts."""
    row = {
        "created_at": datetime(2021, 1, 1, tzinfo=UTC),
        "md5": hashlib.md5(data).hexdigest(),
        "file_ext": "jpg",
        "file_size": len(data),
        "rating": "s",
        "file_url": f"{url}/1.jpg",
        "tag_string": "1girl",
    }
    slice_ = Layout(root).posts_bucket(2021, "0000")
    slice_.parent.mkdir(parents=True)
    with slice_.open("wb") as file:
        write_posts(posts_table({**row, "id": 1000 * (n + 1)} for n in range(posts)), file)
    settings = Settings(root=root, api_url=url, cdn_url=url, requests_per_second=10_000)
    with RunContext(settings) as context:
        report = build_originals(context, "0000", 2021)
        assert report.files == posts, report


if __name__ == "__main__":
    main()
