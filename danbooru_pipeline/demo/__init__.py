"""An embedded booru: a small, made-up site that speaks the real one's HTTP, for the demo command and for all tests.

Nothing of the pipeline imports this package except the demo command and tests; nothing here imports Dagster.
"""
