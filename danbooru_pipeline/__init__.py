"""Builds and maintains yearly, verifiable releases of a booru: Danbooru2021, Danbooru2022 and on."""

__version__ = "0.1.0"
