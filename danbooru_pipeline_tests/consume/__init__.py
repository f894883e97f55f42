"""Tests of selections and exports."""
