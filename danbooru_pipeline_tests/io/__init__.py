"""Tests of `io/`."""
