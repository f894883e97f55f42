"""Tests of `release/documents/`."""
