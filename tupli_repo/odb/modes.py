"""Which modes the files and folders of a repository get.

A repository is shared among a group where its `.tupli` is setgid and writable by that group
(2775); nothing else says so, so whoever comes to it later does the same. There modes are set
explicitly, whatever the umask; elsewhere the umask has its say.

Invariant: the modes in a repository follow from those of its `.tupli`, and from nothing else.
"""

import sys
from pathlib import Path
from stat import S_ISGID, S_IWGRP
from typing import NamedTuple

_ROOT_NAME = ".tupli"


class Modes(NamedTuple):
    """The modes of folders, of finished files and of files that still change.

    Attributes:
        folder: Every folder.
        finished: Files that are never changed again.
        growing: Journals, settings and locks.
        is_exact: Whether they are set whatever the umask.
    """

    folder: int
    finished: int
    growing: int
    is_exact: bool


# Finished files are read-only: nothing under `.tupli` is modified. (Windows moves and removes no
# read-only file.)
PRIVATE = Modes(0o755, 0o644 if sys.platform == "win32" else 0o444, 0o644, is_exact=False)
"""Its user writes; who else reads is up to the umask."""
SHARED = Modes(0o2775, 0o444, 0o664, is_exact=True)
"""A group writes, all read."""


def modes_below(root: Path, mode: int) -> Modes:
    """Return the modes of what is made in a folder.

    Args:
        root: The folder: a `.tupli`, or one that is never shared.
        mode: Its own mode.
    """
    is_shared = root.name == _ROOT_NAME and mode & S_ISGID and mode & S_IWGRP
    return SHARED if is_shared and sys.platform != "win32" else PRIVATE
