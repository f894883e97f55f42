"""Reconciles posts, ledgers and files of 1000 buckets into the manifest, and judges it."""
