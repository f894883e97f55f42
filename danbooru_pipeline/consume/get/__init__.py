"""Fetches a release, or the part of it that a search names, from wherever it is published.

`origins` are the places: rsync, http(s), whatever fsspec knows, the Hugging Face Hub. `run` brings tables and index
first, then the images that are chosen. Every file is compared with the manifest or SHA256SUMS before it gets its name.
"""

from danbooru_pipeline.consume.get.origins import open_origin
from danbooru_pipeline.consume.get.run import GetReport, get_release

__all__ = ["GetReport", "get_release", "open_origin"]
