"""Tests of `release/takedown/`."""
