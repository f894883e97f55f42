"""The command line of the one-file `verify` (see `bundle`): the same checks and the same report, with pyarrow alone."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from danbooru_pipeline.errors import DanbooruPipelineError
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.release.verify.run import verify_release


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify a release. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="danbooru-verify", description="Verify a release from its folder alone.", allow_abbrev=False
    )
    parser.add_argument("release_dir", type=Path)
    parser.add_argument("--full", action="store_true", help="hash every image instead of comparing its size only")
    parser.add_argument("--bucket", choices=BUCKETS, metavar="BUCKET", help="check the images of this bucket only")
    parser.add_argument("--signers", type=Path, metavar="FILE", help="keys that may have signed it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(arguments)
    if options.signers is not None and not options.signers.is_file():
        parser.error(f"--signers {options.signers} does not exist")
    try:
        report = verify_release(options.release_dir, full=options.full, bucket=options.bucket, signers=options.signers)
    except DanbooruPipelineError as error:
        sys.stderr.write(f"danbooru-verify: {error}\n")
        return error.exit_code
    text = json.dumps(report.as_dict(), indent=2) if options.json else "\n".join(report.lines())
    sys.stdout.write(f"{text}\n")
    return 0 if report.ok else 1
