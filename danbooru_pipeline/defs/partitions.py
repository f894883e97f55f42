"""Partitions: 1000 buckets, one release for each finished year, and their product. No assets here."""

import os

import dagster as dg

from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.settings import PREFIX, Settings


def _first_year() -> str:
    """The first release year. Reads one variable: a code location must load even with bad settings."""
    text = os.environ.get(f"{PREFIX}FIRST_YEAR", "").strip()
    return text if text.isdigit() and len(text) == 4 else str(Settings(contact="-").first_year)


#: "0123" holds every post whose id % 1000 is 123; never grows.
buckets = dg.StaticPartitionsDefinition(list(BUCKETS))

#: "2021" exists once 2021 is over, which is when its release may be made.
releases = dg.TimeWindowPartitionsDefinition(start=_first_year(), fmt="%Y", cron_schedule="0 0 1 1 *", timezone="UTC")

#: "0123|2021": bucket 0123 is complete up to the cutoff of Danbooru2021.
bucket_releases = dg.MultiPartitionsDefinition({"bucket": buckets, "release": releases})
