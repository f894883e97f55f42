"""What every place has in common: its name, and what can be asked of it."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.publish.pieces import Group, Piece

T = TypeVar("T")


class Place(Protocol):
    """A place that releases are published to. Paths are relative to the release there.

    Attributes:
        address: of it, without any secret.
        batch: how many pieces are sent at once.
        threads: how many of these batches are sent side by side.
    """

    address: str
    batch: int
    threads: int

    def groups(self, folder: Path) -> list[Group]:
        """The pieces of a release, in the order in which they must arrive; the last group makes it a release."""

    def open(self, name: str) -> None:
        """Make ready for a release of this name.

        Raises:
            PublishError: the place cannot be reached, or refuses us.
        """

    def paths_of(self, piece: Piece) -> list[str]:
        """Paths that a piece has there."""

    def held(self) -> list[str]:
        """Names of groups that the place has something of; asked where nothing is known of it."""

    def listed(self, folder: str) -> list[str]:
        """Paths of all that the place has below the folder of a group, whoever put it there."""

    def digest(self, path: str) -> str | None:
        """SHA-256 of what is there under a path; None where there is nothing."""

    def put(self, files: Mapping[str, Path]) -> None:
        """Put files there, each as a whole or not at all."""

    def remove(self, paths: Collection[str]) -> None:
        """Remove files; those that are not there are no error."""

    def beside(self, files: Mapping[str, Path]) -> None:
        """Put files beside the releases, if the place has room there: they are no part of any."""

    def end(self, name: str, *, newest: bool) -> None:
        """All is there: forget what was there before, and say so if this is the newest release."""


def hub_address(owner: str) -> str:
    """The address of a place on the Hub, whose client need not be installed to name it."""
    return f"hf://datasets/{owner}"


def ask(address: str, work: Callable[[], T], *, passed_on: tuple[type[Exception], ...] = ()) -> T:
    """Call what asks a place for something, and make one line of whatever its client raises.

    Args:
        address: of the place.
        work: asks.
        passed_on: errors that the caller knows the meaning of.

    Raises:
        PublishError: the place cannot be used.
    """
    try:
        return work()
    except Exception as error:
        if isinstance(error, (PublishError, *passed_on)):
            raise
        said = str(error).partition("\n")[0] or type(error).__name__
        raise PublishError(
            f"{address} cannot be used ({said}); check the address and its credentials, then publish again"
        ) from error
