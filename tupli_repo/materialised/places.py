"""Where datasets are kept, and whether files there may be mapped.

A file that is mapped has to stay readable for as long as it is mapped, also when another process
removes it. A disk of this machine sees to that. On a network drive another machine may remove it,
and whoever reads the mapping then is killed: nothing is kept there.
"""

import re
import sys
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

MOUNTS = Path("/proc/self/mounts")
_REMOTE = re.compile(
    r"9p|afp?fs|afs|beegfs|ceph|cifs|coda|davfs|fuse\..*|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2"
    r"|panfs|smb3|smbfs|vboxsf|virtiofs"
)


def datasets_folder() -> Path:
    """Return where this user's datasets are kept."""
    return user_cache_path("tupli", appauthor=False) / "datasets"


def may_be_mapped(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Return whether files in a folder stay readable while they are mapped.

    Args:
        folder: A path without symbolic links.
        mounts: What is mounted where, as Linux tells it.
    """
    if sys.platform == "win32":  # which neither moves nor removes what is mapped
        return False
    return not _REMOTE.fullmatch(_kind_of(folder, mounts))


def _kind_of(folder: Path, mounts: Path) -> str:
    """The type of the file system a folder is on, empty where the system does not tell."""
    found, depth = "", -1
    with suppress(OSError, UnicodeDecodeError):
        for line in mounts.read_text("utf-8").splitlines():
            _, point, kind, *_ = line.split(" ")
            for code, char in (("\\040", " "), ("\\011", "\t"), ("\\134", "\\")):
                point = point.replace(code, char)
            mounted = Path(point)
            if folder.is_relative_to(mounted) and len(mounted.parts) >= depth:
                found, depth = kind, len(mounted.parts)
    return found
