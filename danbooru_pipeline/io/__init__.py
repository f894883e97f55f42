"""Moves bytes: atomic files, locks, Parquet, external sort, SQL, ordered maps. Knows no post, store or release."""
