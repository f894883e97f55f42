"""Verification of a release from its folder alone: no settings, no store, no network."""
