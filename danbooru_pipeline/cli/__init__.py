"""The command line: parse, call, print.

`main` has the group, the others the commands of one audience each: `builders`, `releases`, `consumers`. `shared` has
what they all use. `reference` writes the docs from their help. Docstrings and ``help=`` are the one place where a
command is described.
"""
