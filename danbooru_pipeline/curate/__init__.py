"""Raises the quality of tags: find, review, record, apply, measure, give back.

`signals` say how likely a tag is on a post; `candidates` are what they find in a release; people answer them on a page
or in a terminal (`review`), and each page of answers is a line of an append-only `log`; `corrections` are what they
agree on.
No Dagster, and nothing here changes a post that was published.
"""
