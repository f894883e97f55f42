"""The code location that Dagster loads; `defs/build.py` makes it."""

from danbooru_pipeline.defs.build import build_defs

defs = build_defs()
