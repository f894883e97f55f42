"""An embedded booru: a small synthetic site that speaks the real one's HTTP, for the demo command and the tests.

Only the demo command and the tests import this package; nothing here imports Dagster.
"""
