"""Tables that a release derives from its posts and its manifest: image rows, side tables, tag counts, shards."""
