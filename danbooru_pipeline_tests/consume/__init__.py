"""Tests of the Python API, selections and exports."""
