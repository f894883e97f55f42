"""Removal of posts from every release, from the store and from all that is made later."""
