"""Dagster's view of the pipeline: assets, partitions, resources. The only folder that imports dagster.

Nothing here does the work: an asset opens its partitions, calls the core and turns the report into numbers.
"""

import warnings

import dagster as dg

# Backfill policies and multi-dimensional mappings are marked beta in 1.13. The version is pinned below 1.14, and a
# warning for each of them at every load would hide the ones that matter.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
# The same of checks that are partitioned by release.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
