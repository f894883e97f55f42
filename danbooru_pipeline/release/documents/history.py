"""The releases of the original project, 2017 to 2021: changelogs list them, reconstructions use their last ids.

Source: the original project's page. Round numbers are rounded there; None means that the page does not say.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalRelease:
    """One release of the original project. Sizes in bytes; the page counts in decimal units.

    Attributes:
        released: day of publication; for 2020, the day in its citation.
        cutoff: day of the last upload.
    """

    year: int
    images: int
    tag_instances: int
    tags: int | None
    bytes: int
    cutoff: str
    last_id: int | None = None
    px512: int | None = None
    released: str | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The name under which it is cited."""
        return f"Danbooru{self.year}"


_TB: Final = 10**12

#: Oldest first.
ORIGINALS: Final = (
    OriginalRelease(
        year=2017,
        images=2_940_000,
        tag_instances=77_500_000,
        tags=333_000,
        bytes=1_900 * _TB // 1000,
        cutoff="2017-12-31",
        released="2018-02-13",
        note="the first release",
    ),
    OriginalRelease(
        year=2018,
        images=3_330_000,
        tag_instances=92_700_000,
        tags=365_000,
        bytes=2_500 * _TB // 1000,
        cutoff="2018-12-31",
        last_id=3_368_713,
        px512=2_232_462,
        note="392,557 images, 15,208,974 tag instances and 31,698 tags more than 2017",
    ),
    OriginalRelease(
        year=2019,
        images=3_690_000,
        tag_instances=108_000_000,
        tags=None,
        bytes=3 * _TB,
        cutoff="2019-12-31",
        last_id=3_734_660,
        note="512px images on white instead of black",
    ),
    OriginalRelease(
        year=2020,
        images=4_230_000,
        tag_instances=130_000_000,
        tags=None,
        bytes=3_400 * _TB // 1000,
        cutoff="2020-12-31",
        last_id=4_279_845,
        px512=3_227_715,
        released="2021-01-12",
    ),
    OriginalRelease(
        year=2021,
        images=4_900_000,
        tag_instances=162_000_000,
        tags=498_000,
        bytes=5_339_448_275_829,
        cutoff="2021-12-31",
        last_id=5_020_995,
        px512=3_789_092,
        released="2022-01-21",
        note="metadata in the format of the new export, with side tables",
    ),
)

#: How the original project asks to be cited, with its ampersand as BibTeX needs it; every release cites it too.
ORIGINAL_CITATION: Final = """@misc{danbooru2021,
  author = {Anonymous and Danbooru community and Gwern Branwen},
  title = {Danbooru2021: A Large-Scale Crowdsourced \\& Tagged Anime Illustration Dataset},
  howpublished = {\\url{https://gwern.net/danbooru2021}},
  url = {https://gwern.net/danbooru2021},
  type = {dataset},
  year = {2022},
  month = {January},
  timestamp = {2022-01-21},
  note = {Accessed: DATE}
}
"""


def original(year: int) -> OriginalRelease | None:
    """The original project's release of a year, or None."""
    return next((release for release in ORIGINALS if release.year == year), None)
