"""Polite HTTP: one rate limit for all requests, one retry policy, one download = one outcome."""

from danbooru_pipeline.fetch.client import BooruClient
from danbooru_pipeline.fetch.download import Downloaded, download_file
from danbooru_pipeline.fetch.partial_file import part_names
from danbooru_pipeline.fetch.rate_limiter import RateLimiter
from danbooru_pipeline.fetch.retry import RetryPolicy

__all__ = ["BooruClient", "Downloaded", "RateLimiter", "RetryPolicy", "download_file", "part_names"]
