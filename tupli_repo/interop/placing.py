"""Writing other projects' files: whole, or not at all.

Invariant: what stands at the path in the end was finished; what was there before is left alone.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tupli_repo.errors import InvalidInputError, StorageIOError


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """Give a path to write a file or folder at; it is moved to ``path`` when the block is left.

    Args:
        path: Where it shall be; the folders above are made.

    Raises:
        InvalidInputError: There is something already.
        StorageIOError: The disk refused.
    """
    if os.path.lexists(path):  # a link that leads nowhere, too
        raise InvalidInputError(
            f"there is something at '{path}' already", hint="choose another path, or remove it"
        )
    with _telling(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        made = scratch / path.name
        with _telling(path):
            yield made
            os.rename(made, path)  # noqa: PTH104 - of a folder onto nothing
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        reason = (err.strerror or str(err)).lower()
        raise StorageIOError(f"'{path}' cannot be written: {reason}") from err
