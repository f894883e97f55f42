"""Puts `verify` into one file that needs Python and pyarrow alone: ``python danbooru-verify.pyz RELEASE_DIR --full``.

It holds the modules that verification imports, found by reading their imports, and empty packages around them. What
needs libvips (`pixels`) or the templates (`rendered`) stays out; what needs numpy, scipy or pyroaring (`duplicates`,
`vectors`, `search_index`) is left unchecked where those are missing. The report says so. The same code gives the same
bytes.
"""

import ast
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from danbooru_pipeline.io.atomic import write_atomic

_PACKAGE = Path(__file__).parents[2]
_START = "danbooru_pipeline.release.verify.standalone"
#: Modules that are imported when they are asked for, and are not asked for here.
_LEFT_OUT = frozenset(f"danbooru_pipeline.release.verify.{name}" for name in ("pixels", "rendered"))
_MAIN = f"""import sys

try:
    import pyarrow.parquet
except ImportError:
    sys.exit("danbooru-verify: pyarrow is not installed; pip install pyarrow")
from {_START} import main
from danbooru_pipeline.stop import end_process

code = main()
sys.stdout.flush()
end_process(code)  # threads of Arrow's may abort an interpreter that is taken apart
"""
_TIME = (1980, 1, 1, 0, 0, 0)


def write_bundle(target: Path) -> None:
    """Write the file."""
    modules = _reachable(_START)
    files = {path.relative_to(_PACKAGE.parent).as_posix(): path.read_text() for path in modules.values()}
    packages = {parent.as_posix() for name in files for parent in Path(name).parents} - {"."}
    files |= {f"{name}/__init__.py": "" for name in packages} | {"__main__.py": _MAIN}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _TIME), files[name], zipfile.ZIP_DEFLATED)
    write_atomic(target, b"#!/usr/bin/env python3\n" + data.getvalue())


def _reachable(start: str) -> dict[str, Path]:
    """Module -> file of everything that a module of this package imports, without packages."""
    found: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None or name in found or name in _LEFT_OUT:
            continue
        found[name] = path
        waiting += _imports_of(path)
    return found


def _file_of(name: str) -> Path | None:
    path = _PACKAGE.parent / f"{name.replace('.', '/')}.py"
    return path if name.startswith(f"{_PACKAGE.name}.") and path.is_file() else None


def _imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # Either a module of a package, or names of a module.
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


if __name__ == "__main__":
    write_bundle(Path(sys.argv[1]))
