"""Partitions: 1000 buckets, one release for each finished year, and their product. No assets here."""

import dagster as dg

from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.settings import Settings


def _first_year() -> str:
    """The first release year: a code location must load, and say so in the UI, when settings are wrong."""
    return str(Settings.from_env_with_defaults().first_year)


#: "0123" holds every post whose id % 1000 is 123; never grows.
buckets = dg.StaticPartitionsDefinition(list(BUCKETS))

#: "2021" exists once 2021 is over, which is when its release may be made.
releases = dg.TimeWindowPartitionsDefinition(start=_first_year(), fmt="%Y", cron_schedule="0 0 1 1 *", timezone="UTC")

#: "0123|2021": bucket 0123 is complete up to the cutoff of Danbooru2021.
bucket_releases = dg.MultiPartitionsDefinition({"bucket": buckets, "release": releases})
