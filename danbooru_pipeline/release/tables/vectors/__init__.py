"""Vectors of tags and posts, learned from the tags of a release alone; the same tables give the same bytes."""
