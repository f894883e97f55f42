"""The files of a release: links to the store, tables, archive; staged, then swapped in with one rename."""
