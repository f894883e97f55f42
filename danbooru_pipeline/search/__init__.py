"""Searching posts in the site's own language: the parser, the index of bitmaps, and the evaluation of one on the other.

`parse` turns text into a `Search` and knows no release. `index` writes and reads the bitmaps of a release, `evaluate`
finds the ids. Nothing here knows where the tables of a release lie: whoever asks hands in what reads them.
"""

from danbooru_pipeline.search.errors import BadSearch, UnknownTag
from danbooru_pipeline.search.nodes import Search
from danbooru_pipeline.search.parser import parse

__all__ = ["BadSearch", "Search", "UnknownTag", "parse"]
