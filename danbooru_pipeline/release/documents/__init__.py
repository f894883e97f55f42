"""The documents of a release, for people and archives: card, datasheet, page, feed, citation, statistics, history."""
