"""One post whose files are held: what its source says, and the row of the ledger that agrees."""

from danbooru_pipeline.posts import Post
from danbooru_pipeline.store.ledger import LedgerRow

POST = Post(
    id=1001, md5="a" * 32, ext="png", file_size=20, rating="s", file_url="https://host/a.png", is_banned=False, tags="x"
)
#: Only what a row of a held file must have, so that a test names every further fact that it needs.
ROW = LedgerRow(
    id=1001,
    md5="a" * 32,
    ext="png",
    size=10,
    sha256="b" * 64,
    source_size=20,
    fetched_md5="a" * 32,
    px512_size=5,
    px512_sha256="c" * 64,
    px512_dhash=b"d" * 32,
    px512_phash=b"p" * 32,
    px512_settings="q90",
    first_release=2021,
)
#: The names and sizes of its files, as a look into the folders of its bucket finds them.
FILES = {"1001.png": 10}
PX512_FILES = {"1001.jpg": 5}
