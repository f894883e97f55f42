"""Tests of the search language, of its index and of what it finds."""
