"""What people and archives read of a release: card, datasheet, page, feed, citation, statistics, history."""
