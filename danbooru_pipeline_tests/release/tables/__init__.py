"""Tests of `release/tables/`."""
