"""Duplicates of a release: pairs of posts that show the same picture, or nearly, found by their hashes alone."""
