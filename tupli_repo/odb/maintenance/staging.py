"""Private files that nobody will finish any more.

Invariant: what was touched less than the grace ago stays, and so does what is not ours.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from tupli_repo.odb.files import RepositoryFiles, disk_errors
from tupli_repo.odb.maintenance.ages import Ages
from tupli_repo.odb.trash import freed_by

_NAME = re.compile(r"[0-9a-f]{32}")


class Abandoned(NamedTuple):
    """A private folder that nobody has touched for long: its files, and how many bytes they keep.

    What was linked to its final name just before its writer died is kept by that.
    """

    folder: Path
    files: tuple[Path, ...]
    size_bytes: int


def abandoned(files: RepositoryFiles, ages: Ages, grace: timedelta) -> Iterator[Abandoned]:
    """Iterate over the private folders none of whose files is younger than the grace."""
    staging = files.root / "staging"
    for name in files.list_folder(staging):
        folder = staging / name
        own = files.status(folder) if _NAME.fullmatch(name) else None
        if own is None or not own.is_folder:
            continue
        inside = [folder / one for one in files.list_folder(folder)]
        found = [(path, status) for path in inside if (status := files.status(path)) is not None]
        if all(ages.of(status) >= grace for status in (own, *(status for _, status in found))):
            size = sum(freed_by(status) for _, status in found)
            yield Abandoned(folder, tuple(path for path, _ in found), size)


def remove(files: RepositoryFiles, one: Abandoned) -> None:
    """Remove a private folder for good; what is removed meanwhile is no error."""
    with disk_errors("remove", one.folder):
        for path in one.files:
            with suppress(FileNotFoundError):
                files.fs.remove(path)
        with suppress(OSError):  # something has been added: then it is not abandoned
            files.fs.remove_folder(one.folder)
