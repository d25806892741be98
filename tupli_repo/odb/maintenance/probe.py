"""What the file system under a folder can do, found by trying it, and what follows.

Everything is tried in a private folder, in the repository's `staging/` where there is one. What
others made is looked at and never changed.

Invariant: nothing is left behind, whatever happens; what the disk refuses becomes a line of the
report.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from stat import S_ISGID
from time import sleep, time_ns
from typing import NamedTuple
from unicodedata import normalize
from uuid import uuid4
from warnings import catch_warnings, simplefilter

from filelock import FileLock

from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.failures import is_sync_unsupported
from tupli_repo.odb.filesystem import FileSystem
from tupli_repo.odb.maintenance.access import out_of_reach
from tupli_repo.odb.modes import SHARED, modes_below
from tupli_repo.schema.doctor import DoctorReport, ProbeItem, State

_ROOT_NAME = ".tupli"
_FORMAT_FILE = "format.json"
_NAME_LENGTHS = (64, 128, 255)
_LONGEST_PATH = (
    "g" * 24,
    "k" * 9,
    "n" * 64,
    "r" * 26,
)  # below `refs/`, the deepest of a repository
_SKEW_S = 5.0
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


def probe(folder: Path, fs: FileSystem | None = None) -> DoctorReport:
    """Return what a folder can do, and what follows for a repository in it.

    Args:
        folder: Any folder; where a repository lies in it, that is looked at too.
        fs: The primitives; other ones in tests.

    Raises:
        InvalidInputError: There is no such folder.
    """
    fs = fs or FileSystem()
    folder = folder.resolve()
    try:
        is_folder = fs.status(folder).is_folder
    except OSError:
        is_folder = False
    if not is_folder:
        raise InvalidInputError(f"there is no folder '{folder}'")
    root = _root_of(folder, fs)
    probing = _Probing(folder if root is None else root, fs, is_repository=root is not None)
    try:
        probing.run()
    finally:  # Ctrl-C too
        probing.clean()
    return probing.report


def _root_of(folder: Path, fs: FileSystem) -> Path | None:
    for root in (folder / _ROOT_NAME, folder):
        with suppress(OSError):
            if root.name == _ROOT_NAME and fs.status(root / _FORMAT_FILE).is_file:
                return root
    return None


class _Probing:
    """One look at a folder.

    Args:
        place: The folder, or the `.tupli` of a repository.
        fs: The primitives.
        is_repository: Which of both.
    """

    def __init__(self, place: Path, fs: FileSystem, *, is_repository: bool) -> None:
        self._place, self._fs, self._is_repository = place, fs, is_repository
        name = uuid4().hex
        self._scratch = place / ("staging" if is_repository else "") / f".tupli-doctor-{name}"
        self._files: list[Path] = []
        self._folders: list[Path] = []
        self._items: list[ProbeItem] = []
        self._skew_s: float | None = None
        self._step_s: float | None = None

    @property
    def report(self) -> DoctorReport:
        """What was found."""
        space = _space(self._place)
        return DoctorReport(
            folder=str(self._place.parent if self._is_repository else self._place),
            is_repository=self._is_repository,
            probes=tuple(self._items),
            clock_skew_s=self._skew_s,
            mtime_step_s=self._step_s,
            free_bytes=space and space.n_bytes,
            free_inodes=space and space.n_inodes,
        )

    def run(self) -> None:
        """Try everything."""
        self._space()
        if self._can_write():
            for name, attempt in (
                ("exclusive creation", self._exclusive),
                ("hard links", self._links),
                ("rename over a file", self._rename),
                ("fsync of files", self._fsync),
                ("fsync of folders", self._fsync_folder),
                ("modes", self._modes),
                ("case of names", self._case),
                ("unicode names", self._unicode),
                ("clock", self._clock),
                ("long names", self._names),
                ("long paths", self._paths),
                ("locks", self._locks),
            ):
                self._try(name, attempt)
        self._group()
        if self._is_repository:
            self._look_around()

    def clean(self) -> None:
        """Remove what was made, what is inside first; each as far as the disk lets us."""
        for path in reversed(self._files):
            with suppress(OSError):
                self._fs.remove(path)
        for path in reversed(self._folders):
            with suppress(OSError):
                self._fs.remove_folder(path)

    # Making things; whatever may have come to be is noted before, to be removed.

    def _folder(self, path: Path, mode: int = 0o777) -> Path:
        self._folders.append(path)
        self._fs.make_folder(path, mode=mode)
        return path

    def _file(self, name: str, data: bytes = b"", mode: int = 0o666) -> Path:
        path = self._scratch / name
        self._files.append(path)
        descriptor = self._fs.create(path, mode=mode)
        try:
            if data:
                self._fs.write(descriptor, data)
        finally:
            self._fs.close(descriptor)
        return path

    def _say(self, name: str, state: State, found: str, follows: str = "") -> None:
        self._items.append(ProbeItem(name=name, state=state, found=found, follows=follows))

    def _try(self, name: str, attempt: Callable[[str], None]) -> None:
        """Make one attempt; a refusal it does not expect ends it, and is told."""
        try:
            attempt(name)
        except OSError as err:
            self._say(name, "unusable", f"it failed: {_reason(err)}", "nothing can be relied on")

    # What is tried.

    def _can_write(self) -> bool:
        name = "writing"
        try:
            self._folder(self._scratch, 0o700)
            self._file("first", b"some bytes")
        except OSError as err:
            state: State = "degraded" if self._is_repository else "unusable"
            follows = (
                "what is there can be listed, loaded and cloned; what writes is refused"
                if self._is_repository
                else "a repository cannot be made here; the rest was not tried"
            )
            self._say(name, state, f"this user cannot write: {_reason(err)}", follows)
            return False
        self._say(name, "ok", "this user can write")
        return True

    def _exclusive(self, name: str) -> None:
        self._file("taken")
        try:
            self._fs.close(self._fs.create(self._scratch / "taken", mode=0o666))
        except FileExistsError:
            self._say(name, "ok", "a name is made once")
        else:
            follows = "two writers could write to one file; use another folder"
            self._say(name, "unusable", "a name that exists is made again", follows)

    def _links(self, name: str) -> None:
        source, target = self._file("source", b"linked"), self._scratch / "target"
        self._files.append(target)
        try:
            self._fs.link(source, target)
        except OSError as err:
            self._say(
                name,
                "degraded",
                f"there are none: {_reason(err)}",
                "a ref and 'format.json' are put by rename: of two who make the same name at"
                " once, the later replaces the earlier's bytes, which for a ref are the same",
            )
            return
        try:
            self._fs.link(source, target)
        except FileExistsError:
            self._say(name, "ok", "a name that exists is not linked over")
        else:
            self._say(name, "unusable", "a name that exists is linked over", "use another folder")

    def _rename(self, name: str) -> None:
        new, old = self._file("new", b"new"), self._file("old", b"old")
        self._fs.rename(new, old)
        if self._read(old) == b"new":
            self._say(name, "ok", "the new file takes the old one's place")
        else:
            self._say(name, "unusable", "the old file stays", "nothing can be replaced")

    def _fsync(self, name: str) -> None:
        path = self._scratch / "synced"
        self._files.append(path)
        descriptor = self._fs.create(path, mode=0o666)
        try:
            self._fs.write(descriptor, b"some bytes")
            self._fs.fsync(descriptor)
        except OSError as err:
            follows = "what is recorded could not be acknowledged; use another folder"
            self._say(name, "unusable", f"it is refused: {_reason(err)}", follows)
        else:
            self._say(name, "ok", "bytes reach the disk before they are acknowledged")
        finally:
            self._fs.close(descriptor)

    def _fsync_folder(self, name: str) -> None:
        try:
            descriptor = self._fs.open_read(self._scratch)
            try:
                self._fs.fsync(descriptor)
            finally:
                self._fs.close(descriptor)
        except OSError as err:
            is_missing = isinstance(err, PermissionError) or is_sync_unsupported(err)
            self._say(
                name,
                "degraded" if is_missing else "unusable",
                f"it is refused: {_reason(err)}",
                "after a power cut on the server the names of the last files may be missing;"
                " what was pushed is still where it came from"
                if is_missing
                else "the disk fails",
            )
        else:
            self._say(name, "ok", "names reach the disk before they are relied on")

    def _modes(self, name: str) -> None:
        follows = "'--shared' gives no rights here: the drive's own settings say who may write"
        try:
            file, folder = self._file("mode"), self._folder(self._scratch / "mode-folder")
            self._fs.chmod(file, SHARED.finished)
            self._fs.chmod(folder, SHARED.folder)
        except OSError as err:
            self._say(name, "degraded", f"chmod is refused: {_reason(err)}", follows)
            return
        kept, kept_folder = self._fs.status(file).mode, self._fs.status(folder).mode
        if kept == SHARED.finished and kept_folder == SHARED.folder:
            self._say(name, "ok", "modes stick, the group's bit (setgid) too")
        elif kept_folder | S_ISGID == SHARED.folder and kept == SHARED.finished:
            follows = "'--shared' does not work for this user: are they of the folder's group?"
            self._say(name, "degraded", "the group's bit (setgid) does not stick", follows)
        else:
            found = f"{kept:04o} and {kept_folder:04o} came of 0444 and 2775"
            self._say(name, "degraded", f"modes do not stick: {found}", follows)

    def _case(self, name: str) -> None:
        path = self._file("case-of-a-name")
        folds = self._is_there(path.with_name(path.name.upper()))
        found = "upper and lower case are the same" if folds else "upper and lower case differ"
        follows = "nothing: all names in a repository are lower case" if folds else ""
        self._say(name, "ok", found, follows)

    def _unicode(self, name: str) -> None:
        follows = "nothing: all names in a repository are ASCII"
        composed = "caf\u00e9"
        try:
            path = self._file(composed)
        except (OSError, UnicodeError):
            self._say(name, "ok", "there are none", follows)
            return
        is_folded = self._is_there(path.with_name(normalize("NFD", composed)))
        found = "composed and decomposed are the same" if is_folded else "names stay as they are"
        self._say(name, "ok", found, follows if is_folded else "")

    def _clock(self, name: str) -> None:
        times, skews = list[int](), list[float]()
        for number in range(3):
            before = time_ns()
            path = self._file(f"time-{number}", b"x")
            after = time_ns()
            times.append(self._fs.status(path).mtime_ns)
            skews.append((times[-1] - (before + after) / 2) / 1e9)
            sleep(0.012)
        self._step_s = next(
            (step for step in (2, 1) if all(t % (step * 10**9) == 0 for t in times)), 0
        )
        self._skew_s = round(sorted(skews)[1], 3)
        said = f"{abs(self._skew_s):.1f} s {'ahead' if self._skew_s > 0 else 'behind'}"
        step = "; times are told in whole seconds" if self._step_s else ""
        if abs(self._skew_s) <= _SKEW_S + self._step_s:
            self._say(name, "ok", f"the file server's is this machine's{step}")
        else:
            follows = "times of recording are this machine's: order may look wrong; gc asks the"
            self._say(name, "degraded", f"the file server's is {said}{step}", f"{follows} server")

    def _names(self, name: str) -> None:
        longest = 0
        for length in _NAME_LENGTHS:
            try:
                self._file("n" * length)
            except OSError:
                break
            longest = length
        if longest < _NAME_LENGTHS[0]:
            self._say(name, "unusable", "64 characters are too many", "packs need 69")
        elif longest < _NAME_LENGTHS[1]:
            self._say(name, "degraded", "64 characters are the most", "packs may need 69")
        else:
            self._say(name, "ok", f"{longest} characters")

    def _paths(self, name: str) -> None:
        path, length = self._scratch, len(str(self._scratch / "/".join(_LONGEST_PATH)))
        try:
            for part in _LONGEST_PATH:
                path = self._folder(path / part)
        except OSError as err:
            follows = "what has a long name cannot be published; use a folder nearer to the top"
            self._say(name, "degraded", f"{length} characters: {_reason(err)}", follows)
        else:
            self._say(name, "ok", f"{length} characters")

    def _locks(self, name: str) -> None:
        path = self._scratch / "lock"
        self._files.append(path)
        follows = "two may clean up at once, which does no harm but costs time"
        lock = FileLock(path, timeout=0)
        try:
            with catch_warnings():
                simplefilter("error", UserWarning)  # so filelock says that it made do with less
                with lock:
                    answer = _in_another_process(path)
        except (OSError, NotImplementedError, UserWarning) as err:
            self._say(name, "degraded", f"there are none: {str(err).splitlines()[0]}", follows)
            return
        if answer == "free":
            self._say(name, "degraded", "another process does not see them", follows)
        elif answer == "held":
            self._say(name, "ok", "another process sees them")
        else:
            self._say(name, "ok", "this process gets them; another could not be started to look")

    def _space(self) -> None:
        space = _space(self._place)
        if space is None:
            self._say("space", "ok", "how much there is cannot be told")
            return
        found = f"{space.n_bytes >> 20} MiB free"
        if space.n_inodes is not None:
            found += f", {space.n_inodes} files may be made"
        if space.n_bytes == 0 or space.n_inodes == 0:
            self._say("space", "unusable", found, "nothing can be written; free some space")
        elif space.n_bytes < _FEW_BYTES or (space.n_inodes or _FEW_INODES) < _FEW_INODES:
            self._say("space", "degraded", found, "it is soon full; free some space")
        else:
            self._say("space", "ok", found)

    def _group(self) -> None:
        """Say whether another user of the folder's group could write."""
        name, mode = "others of the group", self._fs.status(self._place).mode
        is_shared = self._is_shared(mode)
        given = f"mode {mode:04o}"
        with suppress(OSError):  # what a new file gets tells the umask
            made = self._fs.status(self._scratch / "first")
            given += f", new files get {made.mode:03o}"
        if is_shared:
            self._say(name, "ok", f"may write ({given}): it is shared")
        elif mode & 0o020 and not self._is_repository:
            self._say(name, "ok", f"may make things here ({given})")
        else:
            follows = "'tupli init --bare --shared' makes one they may write to"
            self._say(name, "ok", f"cannot write ({given})", follows)

    def _look_around(self) -> None:
        """Look at the modes of all that is in a repository."""
        is_shared = self._is_shared(self._fs.status(self._place).mode)
        found = out_of_reach(self._place, self._fs, passing_over=self._scratch)
        if is_shared:
            follows = "who made them can 'chmod' them: folders 2775, files 0444"
            said = _listed(found.unfit, "all are for the group", "are not for the group")
            if found.unfit:
                self._say("modes here", "degraded", said, follows)
            else:
                self._say("modes here", "ok", said)
        said = _listed(found.unread, "this user can read all", "cannot be read by this user")
        if found.unread:
            follows = "what is in them is missing for this user; ask who made them"
            self._say("files here", "degraded", said, follows)
        else:
            self._say("files here", "ok", said)

    def _is_shared(self, mode: int) -> bool:
        return self._is_repository and modes_below(self._place, mode) is SHARED

    def _is_there(self, path: Path) -> bool:
        try:
            self._fs.status(path)
        except (OSError, UnicodeError):
            return False
        return True

    def _read(self, path: Path) -> bytes:
        descriptor = self._fs.open_read(path)
        try:
            return self._fs.read(descriptor, 100, 0)
        finally:
            self._fs.close(descriptor)


def _listed(paths: Sequence[str], none: str, some: str) -> str:
    if not paths:
        return none
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    shown = ", ".join(f"'{path}'" for path in paths[:_SHOWN])
    return f"{shown}{more} {some}"


class _Space(NamedTuple):
    """What may still be written: bytes, and files where that is known."""

    n_bytes: int
    n_inodes: int | None


def _space(place: Path) -> _Space | None:
    if sys.platform == "win32":
        return None
    try:
        found = os.statvfs(place)
    except OSError:
        return None
    return _Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


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


def _reason(err: OSError) -> str:
    return (err.strerror or str(err)).lower()
