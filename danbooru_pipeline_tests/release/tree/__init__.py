"""Tests of `release/tree/`."""
