"""Names that come from a store, and the files that they become. The one place that joins them to a folder.

Whoever can write to a store chooses such names: keys, outputs in a manifest, files of a checkpoint. A name is parts
with a slash between them, and leads to a place below the folder asked for or nowhere.
"""

import errno
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from common.errors import InputError

BYTES_OF_A_NAME, BYTES_OF_A_PART = 1024, 255  # the most that S3 and common file systems take
ALLOWED = "printable parts with / between them, none of them . or .., no backslash"
NO_PLACE = (
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)  # the name's fault, not the disk's


def fault(name: str) -> str:
    """What is wrong with a name, empty for a good one."""
    try:
        parts = [part.encode() for part in name.split("/")]
    except UnicodeEncodeError:
        return "not Unicode text"
    if any(len(part) > BYTES_OF_A_PART for part in parts) or len(name.encode()) > BYTES_OF_A_NAME:
        return "too long"
    if any(part in (b"", b".", b"..") for part in parts):
        return "absolute, or with a part that is empty or made of dots"
    return "" if name.isprintable() and "\\" not in name else "with a backslash or what cannot be printed"


def checked(name: str) -> str:
    """The name itself. Raises: InputError naming it if it could lead anywhere but below a folder."""
    if not isinstance(name, str) or (what := fault(name)):
        what = what if isinstance(name, str) else "not text"
        raise InputError("bad name in the store", where=what, value=repr(name), allowed=ALLOWED)
    return name


def inside(root: Path, name: str) -> Path:
    """Where the file of this name lies below `root`.

    Raises: InputError naming it if it would lie elsewhere, by the name itself or by a symbolic link on the way.
    """
    path = root / checked(name)
    try:
        within = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a circle of links
        within = False
    if not within:
        raise InputError("a symbolic link leads out of the folder", where=str(root), value=name, allowed="no such link")
    return path


def write_below(root: Path, files: Mapping[str, bytes]) -> None:
    """Write files below `root`, none before every name is found good. Raises: InputError naming a bad one, OSError."""
    paths = {name: inside(root, name) for name in files}
    if both := next((name for name in files for parent in PurePosixPath(name).parents if str(parent) in files), None):
        raise InputError("a name leads through a file", where=str(root), value=both, allowed="a file or a folder")
    root.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
        except OSError as error:
            if error.errno not in NO_PLACE:
                error.filename = error.filename or str(path)  # what could not be written names no file of its own
                raise
            raise InputError("no file can have this name", where=str(root), value=name, allowed=ALLOWED) from error
