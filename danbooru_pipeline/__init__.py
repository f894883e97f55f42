"""Builds and maintains yearly, verifiable releases of a booru: Danbooru2021, Danbooru2022 and on."""


def __getattr__(name: str) -> str:
    """``__version__``, looked up when it is asked for: in a clone that starts git, and most imports do not need it."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from danbooru_pipeline.version import version  # noqa: PLC0415 - see above

    return version().number
