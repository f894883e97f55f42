"""What hatchling runs when it builds this project: it names the version, and stamps it into wheels and sdists.

`danbooru_pipeline/version.py` decides; this file only calls it by its path, since the package's dependencies need not
be installed for a build. A tree without ``.git``, such as a container's build context, is told the answer of
``git describe`` in the environment variable ``GIT_DESCRIBE`` (``make image`` does that).
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent


def _version_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_version_of_this_build", ROOT / "danbooru_pipeline/version.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def built_version() -> Any:
    """The version of what is being built."""
    module = _version_module()
    description = os.environ.get("GIT_DESCRIBE", "")
    return module.parse_description(description) if description else module.version()


class StampVersion(BuildHookInterface):  # type: ignore[type-arg]
    """Puts ``version.json`` beside ``version.py`` in everything but an editable install, which asks git."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the stamp outside the tree, where it cannot go stale, and have it included."""
        if version == "editable":
            return
        module = _version_module()
        self._folder = tempfile.TemporaryDirectory()
        stamp = Path(self._folder.name) / module.STAMP
        stamp.write_text(built_version().as_json())
        build_data["force_include"][str(stamp)] = f"danbooru_pipeline/{module.STAMP}"
