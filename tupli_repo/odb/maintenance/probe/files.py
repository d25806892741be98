"""What can be done with files: each once, on a scratch file.

Invariant: a refusal that an attempt does not expect leaves it as an `OSError`.
"""

from stat import S_ISGID

from tupli_repo.odb.failures import is_sync_unsupported
from tupli_repo.odb.maintenance.probe.ground import Found, Ground, reason
from tupli_repo.odb.modes import SHARED


def exclusive_creation(ground: Ground) -> Found:
    """Return whether a name that exists can be made again."""
    taken = ground.make_file("taken")
    try:
        ground.fs.close(ground.fs.create(taken, mode=0o666))
    except FileExistsError:
        return Found("ok", "a name is made once")
    follows = "two writers could write to one file; use another folder"
    return Found("unusable", "a name that exists is made again", follows)


def hard_links(ground: Ground) -> Found:
    """Return whether a file can have two names, and a name that exists is safe."""
    source, target = ground.make_file("source", b"linked"), ground.name("target")
    try:
        ground.fs.link(source, target)
    except OSError as err:
        return Found(
            "degraded",
            f"there are none: {reason(err)}",
            "a ref and 'format.json' are put by rename: of two who make the same name at"
            " once, the later replaces the earlier's bytes, which for a ref are the same",
        )
    try:
        ground.fs.link(source, target)
    except FileExistsError:
        return Found("ok", "a name that exists is not linked over")
    return Found("unusable", "a name that exists is linked over", "use another folder")


def rename(ground: Ground) -> Found:
    """Return whether a file takes the place of another."""
    new, old = ground.make_file("new", b"new"), ground.make_file("old", b"old")
    ground.fs.rename(new, old)
    if ground.read(old) == b"new":
        return Found("ok", "the new file takes the old one's place")
    return Found("unusable", "the old file stays", "nothing can be replaced")


def fsync(ground: Ground) -> Found:
    """Return whether bytes reach the disk when they are told to."""
    descriptor = ground.fs.create(ground.name("synced"), mode=0o666)
    try:
        ground.fs.write(descriptor, b"some bytes")
        ground.fs.fsync(descriptor)
    except OSError as err:
        follows = "what is recorded could not be acknowledged; use another folder"
        return Found("unusable", f"it is refused: {reason(err)}", follows)
    finally:
        ground.fs.close(descriptor)
    return Found("ok", "bytes reach the disk before they are acknowledged")


def fsync_folder(ground: Ground) -> Found:
    """Return whether names reach the disk when they are told to."""
    try:
        descriptor = ground.fs.open_read(ground.folder)
        try:
            ground.fs.fsync(descriptor)
        finally:
            ground.fs.close(descriptor)
    except OSError as err:
        is_missing = isinstance(err, PermissionError) or is_sync_unsupported(err)
        return Found(
            "degraded" if is_missing else "unusable",
            f"it is refused: {reason(err)}",
            "after a power cut on the server the names of the last files may be missing;"
            " what was pushed is still where it came from"
            if is_missing
            else "the disk fails",
        )
    return Found("ok", "names reach the disk before they are relied on")


def modes(ground: Ground) -> Found:
    """Return whether the modes of a shared repository stick."""
    follows = "'--shared' gives no rights here: the drive's own settings say who may write"
    try:
        file, folder = ground.make_file("mode"), ground.make_folder(ground.folder / "mode-folder")
        ground.fs.chmod(file, SHARED.finished)
        ground.fs.chmod(folder, SHARED.folder)
    except OSError as err:
        return Found("degraded", f"chmod is refused: {reason(err)}", follows)
    kept, kept_folder = ground.fs.status(file).mode, ground.fs.status(folder).mode
    if kept == SHARED.finished and kept_folder == SHARED.folder:
        return Found("ok", "modes stick, the group's bit (setgid) too")
    if kept_folder | S_ISGID == SHARED.folder and kept == SHARED.finished:
        follows = "'--shared' does not work for this user: are they of the folder's group?"
        return Found("degraded", "the group's bit (setgid) does not stick", follows)
    found = f"{kept:04o} and {kept_folder:04o} came of 0444 and 2775"
    return Found("degraded", f"modes do not stick: {found}", follows)
