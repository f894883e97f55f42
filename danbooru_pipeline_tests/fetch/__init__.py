"""Requests, downloads, pacing and retries, against real servers."""
