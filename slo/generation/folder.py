"""The folder that holds what follows from a specification: nothing else of ours stays in it, nothing of others is touched."""

import json
from pathlib import Path
from typing import Final

from slo.generation.artefacts import HEAD
from slo.generation.k6 import ANY_REQUEST

# Where files come and go with the names in a specification.
_KEPT: Final = ("rules/**/*.yaml", "k6/*.json")
# The title of the table and an empty line stand before it.
_HEAD_LINES: Final = 3


def write(files: dict[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Write the files below a folder and return their paths.

    Raises `OSError`; `FileExistsError`, before anything is written, where one would replace what was not made here.
    """
    paths = {folder / name: content for name, content in files.items()}
    for path in paths:
        if path.exists() and not _is_ours(path):
            raise FileExistsError(f"{path} was not made by `goshop slo rules`: move it, or write to another folder")
    for path, content in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tuple(paths)


def remove_stale(files: dict[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Remove rules and thresholds that do not follow any more, and return their paths; raises `OSError`.

    Rules of a service that was renamed would go on alerting.
    """
    made = {folder / name for name in files}
    found = sorted({path for pattern in _KEPT for path in folder.glob(pattern)} - made)
    stale = tuple(path for path in found if path.is_file() and _is_ours(path))
    for path in stale:
        path.unlink()
    return stale


def _is_ours(path: Path) -> bool:
    """Tell whether a file was made here. JSON has no comments: thresholds are known by the one that all of them have."""
    content = path.read_bytes()
    if path.suffix != ".json":
        return any(HEAD.encode() in line for line in content.splitlines()[:_HEAD_LINES])
    try:
        value = json.loads(content)
    except ValueError:
        return False
    return isinstance(value, dict) and all(value.get(name) == conditions for name, conditions in ANY_REQUEST.items())
