"""Tests of the embedded booru."""
