"""Tests of `operate/`."""
