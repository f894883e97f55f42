"""Sweeps, splits and side tables, against real servers."""
