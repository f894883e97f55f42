"""Import: originals that exist elsewhere become files of the store, each only when it is proven to be the post's.

`recognise` says what a path holds; `releases`, `folders` and `tars` find candidates there; `proof` judges one of them;
`placing` gives it its name in the store; `run` works bucket by bucket, under the bucket's lock. What is read is never
changed; only `--move` removes names (`moving`), after the ledger is written. No network.
"""

from danbooru_pipeline.store.imports.candidates import Holding
from danbooru_pipeline.store.imports.recognise import open_holdings
from danbooru_pipeline.store.imports.run import ImportReport, import_files

__all__ = ["Holding", "ImportReport", "import_files", "open_holdings"]
