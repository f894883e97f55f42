"""Import: originals that exist elsewhere become files of the store, each only when it is proven to be the post's.

`holdings` recognises what a path holds and finds candidates there, `proof` judges one candidate, and `run` works bucket
by bucket under the bucket's lock. What is read is never changed; `--move` alone removes names, after the ledger is
written. No network.
"""

from danbooru_pipeline.store.imports.holdings import Holding, open_holdings
from danbooru_pipeline.store.imports.run import ImportReport, import_files

__all__ = ["Holding", "ImportReport", "import_files", "open_holdings"]
