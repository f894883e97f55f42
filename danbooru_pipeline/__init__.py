"""Builds and maintains yearly, verifiable releases of a booru: Danbooru2021, Danbooru2022 and on.

For people who have a release: ``from danbooru_pipeline import open_release`` (docs/python.md).
"""

#: As `typing.TYPE_CHECKING`, whose import alone takes longer than that of this package.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from danbooru_pipeline.consume import OpenedRelease, open_release

    __version__: str
else:

    def __getattr__(name: str) -> object:
        """Public names, looked up when they are used: in a clone the version starts git, and the API brings pandas."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            from danbooru_pipeline.version import version  # noqa: PLC0415 - see above

            return version().number
        from danbooru_pipeline import consume  # noqa: PLC0415 - see above

        return getattr(consume, name)


__all__ = ["OpenedRelease", "__version__", "open_release"]
