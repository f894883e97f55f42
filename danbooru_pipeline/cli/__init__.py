"""The command line: parse, call, print. `main` has the group and the general commands, the others one audience each."""
