"""The command line: parse, call, print.

`main` has the group; `builders`, `releases`, `consumers`, `exporting` and `curation` have the commands of one audience
each; `shared`, `output`, `reading`, `exits` and `startup` have what they use. `reference` writes the docs from
their help. Docstrings and ``help=`` are the one place where a command is described.
"""
