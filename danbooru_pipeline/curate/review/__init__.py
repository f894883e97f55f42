"""Review: a queue of pages, a loopback server with the page for pictures, a terminal for rules, and gold samples."""
