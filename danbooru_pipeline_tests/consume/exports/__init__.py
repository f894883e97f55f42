"""Tests of exports: each form by what its readers do, and what all forms share."""
