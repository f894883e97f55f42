"""Tests of `release/manifest/`."""
