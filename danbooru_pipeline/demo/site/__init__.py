"""The embedded booru: its world, its JSON API and its file host, with rate limits and faults on request."""
