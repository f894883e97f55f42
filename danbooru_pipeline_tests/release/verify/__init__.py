"""Tests of `release/verify/`."""
