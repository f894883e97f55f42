"""Dagster's view, on real instances."""
