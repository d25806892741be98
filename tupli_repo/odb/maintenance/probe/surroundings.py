"""What a folder shares with others: room, users, a clock, locks.

Invariant: what others made is looked at and never changed.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep, time_ns
from typing import NamedTuple
from warnings import catch_warnings, simplefilter

from filelock import FileLock

from tupli_repo.odb.maintenance.probe.ground import Found, Ground
from tupli_repo.odb.modes import SHARED, modes_below

_SKEW_S = 5.0
_CLOCK_TRIES = 3
_FEW_BYTES = 256 << 20  # a pack of 64 MiB is written beside the journal it is made of
_FEW_INODES = 2000
_SHOWN = 5
_CHILD_TIMEOUT_S = 20
_CHILD = """
import sys
from filelock import FileLock, Timeout
try:
    FileLock(sys.argv[1], timeout=0).acquire()
except Timeout:
    print("held")
else:
    print("free")
"""

# ---- room


class Space(NamedTuple):
    """What may still be written: bytes, and files where that is known."""

    n_bytes: int
    n_inodes: int | None


def free_space(place: Path) -> Space | None:
    """Return what may still be written below a folder; None where nothing can be told of that."""
    if sys.platform == "win32":
        return None
    try:
        found = os.statvfs(place)
    except OSError:
        return None
    if not found.f_blocks:  # it has no room of its own to tell of, as /proc and some FUSE mounts
        return None
    return Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def told_space(space: Space | None) -> Found:
    """Return what follows from the room there is."""
    if space is None:
        return Found("ok", "how much there is cannot be told")
    found = f"{space.n_bytes >> 20} MiB free"
    if space.n_inodes is not None:
        found += f", {space.n_inodes} files may be made"
    if space.n_bytes == 0 or space.n_inodes == 0:
        return Found("unusable", found, "nothing can be written; free some space")
    if space.n_bytes < _FEW_BYTES or (space.n_inodes or _FEW_INODES) < _FEW_INODES:
        return Found("degraded", found, "it is soon full; free some space")
    return Found("ok", found)


# ---- users


def is_shared(ground: Ground) -> bool:
    """Return whether a repository is there that a group shares."""
    mode = ground.fs.status(ground.place).mode
    return ground.is_repository and modes_below(ground.place, mode) is SHARED


def others_of_the_group(ground: Ground) -> Found:
    """Return whether another user of the folder's group could write."""
    mode = ground.fs.status(ground.place).mode
    given = f"mode {mode:04o}"
    with suppress(OSError):  # what a new file gets tells the umask
        given += f", new files get {ground.fs.status(ground.first).mode:03o}"
    if is_shared(ground):
        return Found("ok", f"may write ({given}): it is shared")
    if mode & 0o020 and not ground.is_repository:
        return Found("ok", f"may make things here ({given})")
    follows = "'tupli init --bare --shared' makes one they may write to"
    return Found("ok", f"cannot write ({given})", follows)


def told_unfit(paths: Sequence[str]) -> Found:
    """Return what follows from files and folders that the group cannot use."""
    if not paths:
        return Found("ok", "all are for the group")
    follows = "who made them can 'chmod' them: folders 2775, files 0444"
    return Found("degraded", f"{_listed(paths)} are not for the group", follows)


def told_unread(paths: Sequence[str]) -> Found:
    """Return what follows from files and folders that this user cannot read."""
    if not paths:
        return Found("ok", "this user can read all")
    follows = "what is in them is missing for this user; ask who made them"
    return Found("degraded", f"{_listed(paths)} cannot be read by this user", follows)


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(f"'{path}'" for path in paths[:_SHOWN]) + more


# ---- other machines and processes


class Clock(NamedTuple):
    """The file server's clock: how far it is ahead of this machine's, and its steps; seconds."""

    skew_s: float
    step_s: float


def read_clock(ground: Ground) -> Clock:
    """Return what the times of new files say; the median of a few."""
    times, skews = list[int](), list[float]()
    for number in range(_CLOCK_TRIES):
        before = time_ns()
        path = ground.make_file(f"time-{number}", b"x")
        after = time_ns()
        times.append(ground.fs.status(path).mtime_ns)
        skews.append((times[-1] - (before + after) / 2) / 1e9)
        sleep(0.012)
    step_s = next((step for step in (2, 1) if all(t % (step * 10**9) == 0 for t in times)), 0)
    return Clock(round(sorted(skews)[1], 3), step_s)


def told_clock(clock: Clock) -> Found:
    """Return what follows from the file server's clock."""
    said = f"{abs(clock.skew_s):.1f} s {'ahead' if clock.skew_s > 0 else 'behind'}"
    step = "; times are told in whole seconds" if clock.step_s else ""
    if abs(clock.skew_s) <= _SKEW_S + clock.step_s:
        return Found("ok", f"the file server's is this machine's{step}")
    follows = "times of recording are this machine's: order may look wrong; gc asks the server"
    return Found("degraded", f"the file server's is {said}{step}", follows)


def locks(ground: Ground) -> Found:
    """Return whether a lock that this process holds is seen by another one."""
    path = ground.name("lock")
    follows = "two may clean up at once, which does no harm but costs time"
    lock = FileLock(path, timeout=0)
    try:
        with catch_warnings():
            simplefilter("error", UserWarning)  # so filelock says that it made do with less
            with lock:
                answer = _in_another_process(path)
    except (OSError, NotImplementedError, UserWarning) as err:
        return Found("degraded", f"there are none: {str(err).splitlines()[0]}", follows)
    if answer == "free":
        return Found("degraded", "another process does not see them", follows)
    if answer == "held":
        return Found("ok", "another process sees them")
    return Found("ok", "this process gets them; another could not be started to look")


def _in_another_process(path: Path) -> str:
    """What another process finds of a lock that this one holds; nothing where none can be had."""
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, a program of ours
            [sys.executable, "-P", "-c", _CHILD, str(path)],
            capture_output=True,
            text=True,
            timeout=_CHILD_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
