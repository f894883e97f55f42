"""The pipeline as Dagster sees it: assets, checks, partitions, resources. The only folder that imports dagster.

Nothing here does the work: an asset calls the core for its partitions, and turns the report into metadata.
"""

import warnings

import dagster as dg

# Backfill policies and multi-dimensional mappings are beta in 1.13. The version is pinned below 1.14, and a warning for
# each of them at every load would hide the ones that matter.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
# The same goes for checks that are partitioned by release.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
