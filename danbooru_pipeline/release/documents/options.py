"""The operator's choices about the documents of a release. None is secret: they are part of RELEASE.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import msgspec

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.release.signing import public_key

if TYPE_CHECKING:
    from danbooru_pipeline.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentOptions:
    """Choices that are visible in a release.

    Attributes:
        maker: the publisher, as it is cited.
        contact: where to ask for a removal.
        url: address under which releases are served, without a trailing slash; empty if there is none yet.
        webdataset: whether 512px images are also shipped as one tar per bucket.
        torrent: whether a torrent of the metadata archive is made.
        corrected: whether posts are also written with what people decided about their tags.
        dialect_2017: whether posts are also written as in Danbooru2017 to 2020, to ``metadata/YEAR-old/``.
        accepted_incomplete: ``posts`` or a side table -> what is missing from it, and why the publisher accepted that.
        signer: public half of the key that signs, as ``ssh-ed25519 AAAA…``; empty if none does. See `plan.signed_by`.
    """

    maker: str = "Anonymous"
    contact: str = ""
    url: str = ""
    webdataset: bool = False
    torrent: bool = False
    dialect_2017: bool = False
    corrected: bool = False
    signer: str = ""
    accepted_incomplete: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The options as RELEASE.json stores them; one that came later is only there when it is chosen."""
        options = dict(msgspec.to_builtins(self))
        if not self.accepted_incomplete:
            del options["accepted_incomplete"]
        if not self.corrected:
            del options["corrected"]
        return options


def options_from(stored: Mapping[str, Any]) -> DocumentOptions:
    """The options that RELEASE.json stores.

    Raises:
        ReleaseError: some are unknown, or not what they should be: a newer version made the release.
    """
    unknown = sorted(stored.keys() - {each.name for each in fields(DocumentOptions)})
    try:
        options = msgspec.convert(dict(stored), DocumentOptions)
    except msgspec.ValidationError as error:
        unknown = [str(error)]
    if unknown:
        raise ReleaseError(
            f"a release has options that this version does not understand ({', '.join(unknown)}); "
            "use the version that made it"
        )
    return options


def options_of(settings: "Settings", *, accepted_incomplete: dict[str, str] | None = None) -> DocumentOptions:
    """What the operator's settings say about the documents of releases.

    Args:
        settings: the operator's choices.
        accepted_incomplete: what is missing from the release, and why that is accepted.

    Raises:
        SettingsError: the signing key cannot sign.
    """
    return DocumentOptions(
        maker=settings.publisher,
        contact=settings.removal_address,
        url=settings.public_url,
        webdataset=settings.webdataset,
        torrent=settings.torrent,
        dialect_2017=settings.dialect_2017,
        corrected=settings.corrected,
        signer=public_key(settings.signing_key) if settings.signing_key else "",
        accepted_incomplete=accepted_incomplete or {},
    )
