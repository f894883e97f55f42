"""Commands by group, for `cli`: each module parses, calls and prints, and imports what takes long where it is used."""
