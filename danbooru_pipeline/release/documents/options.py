"""What an operator chooses about the papers of a release. Nothing secret: it is part of RELEASE.json."""

from dataclasses import dataclass
from typing import Any

import msgspec

from danbooru_pipeline.release.signing import public_key
from danbooru_pipeline.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentOptions:
    """Choices that show in a release.

    Attributes:
        maker: who publishes it, as it is cited.
        contact: where to ask for a removal.
        url: address below which releases are served, without a slash at its end; empty when there is none yet.
        webdataset: whether 512px images are also shipped as one tar a bucket.
        torrent: whether a torrent of the metadata archive is made.
        dialect_2017: whether posts are also written as Danbooru2017 to 2020 had them, as ``metadata/YEAR/YEAR….json``.
        signer: public half of the key that signs, as ``ssh-ed25519 AAAA…``; empty when nothing is signed.
    """

    maker: str = "Anonymous"
    contact: str = ""
    url: str = ""
    webdataset: bool = False
    torrent: bool = False
    dialect_2017: bool = False
    signer: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As RELEASE.json has it."""
        return dict(msgspec.to_builtins(self))


def options_of(settings: Settings) -> DocumentOptions:
    """What the operator's settings say about the documents of releases.

    Raises:
        SettingsError: the signing key cannot sign.
    """
    return DocumentOptions(
        maker=settings.maker,
        contact=settings.removal_contact or settings.contact,
        url=settings.public_url,
        webdataset=settings.webdataset,
        torrent=settings.torrent,
        dialect_2017=settings.dialect_2017,
        signer=public_key(settings.signing_key) if settings.signing_key else "",
    )
