"""The process that hashes for `hash_processes`.

A request is a line with its length, then size and path of each file, a null byte after each. The answer is a line for
each file, with its digest or a dash. It ends with its input, so it never outlives who asks. It imports as little as it
can, since an interpreter with pyarrow takes as long as hashing ten thousand small files.
"""

import sys
from pathlib import Path

from danbooru_pipeline.io.bounded_sha256 import ModeRule, digests_of
from danbooru_pipeline.io.processes import leave_signals_to_parent

#: Names of files are bytes, which need not be text.
CODEC = ("utf-8", "surrogateescape")
#: Stands for the digest of a file that has none.
NOTHING = b"-"


def main(root: str, needed: str, forbidden: str) -> None:
    """Answer until the input ends."""
    leave_signals_to_parent()
    rule = ModeRule(int(needed), int(forbidden))
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    for length in asked:
        *files, _ = asked.read(int(length)).split(b"\0")
        pairs = [file.decode(*CODEC).split(" ", 1) for file in files]
        done = digests_of(Path(root), [(path, int(size)) for size, path in pairs], rule)
        answers.write(b"".join(b"%s\n" % (NOTHING if digest is None else digest.encode()) for digest in done))
        answers.flush()
