"""The trash: where superseded files go before they are removed for good.

Invariant: what is in the trash was whole where it lay, and lies in a run of its own with a stamp
that says why.
"""

from pathlib import Path
from uuid import uuid4

from tupli_repo.odb.files import RepositoryFiles, disk_errors


def move_to_trash(files: RepositoryFiles, path: Path, *, reason: str) -> Path | None:
    """Move one superseded file of a repository into a trash run of its own.

    Returns:
        Where it is now; None where somebody else had moved it.
    """
    run = files.root / "trash" / uuid4().hex
    moved = run / path.name
    with disk_errors("move to the trash", path):
        files.ensure_folder(run.parent)
        files.make_folder(run)
        files.write_atomic(run / "stamp", f"{reason}\n".encode())
        try:
            files.fs.rename(path, moved)
        except FileNotFoundError:
            return None
        files.fs.fsync_folder(run)
        files.fs.fsync_folder(path.parent)
    return moved
