"""What a mirror does with a list of changes, done to copies of trees."""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of every file."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def images(folder: Path) -> dict[str, bytes]:
    """The same of the images alone."""
    return {name: data for name, data in contents(folder).items() if name.count("/") == 2 and name[0] in "5o"}


def lines(path: Path) -> list[str]:
    """The lines of a list."""
    return path.read_text().splitlines()


def changed(old: Path, new: Path, label: str) -> dict[str, bytes]:
    """An old tree after what the list says was removed and fetched."""
    tree = contents(old)
    for path in lines(new / f"changes/{label}.remove.txt"):
        tree.pop(path, None)
    for path in lines(new / f"changes/{label}.files.txt"):
        tree[path] = (new / path).read_bytes()
    return tree
