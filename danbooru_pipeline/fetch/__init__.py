"""Polite HTTP: one pace for all requests, one retry policy, one download = one outcome."""

from danbooru_pipeline.fetch.client import BooruClient
from danbooru_pipeline.fetch.download import Downloaded, download_file
from danbooru_pipeline.fetch.pacing import Pacer
from danbooru_pipeline.fetch.part import part_names
from danbooru_pipeline.fetch.retry import RetryPolicy

__all__ = ["BooruClient", "Downloaded", "Pacer", "RetryPolicy", "download_file", "part_names"]
