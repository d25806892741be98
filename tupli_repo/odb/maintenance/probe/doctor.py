"""One look at a folder: everything is tried, in order.

Invariant: nothing is left behind, whatever happens; what the disk refuses becomes a line of the
report.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.filesystem import FileSystem
from tupli_repo.odb.maintenance.access import out_of_reach
from tupli_repo.odb.maintenance.probe import files, names, surroundings
from tupli_repo.odb.maintenance.probe.ground import Found, Ground, reason
from tupli_repo.schema.doctor import DoctorReport, ProbeItem

_ROOT_NAME = ".tupli"
_FORMAT_FILE = "format.json"


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
    ground = Ground(folder if root is None else root, fs, is_repository=root is not None)
    try:
        return _Look(ground).run()
    finally:  # Ctrl-C too
        ground.clean()


def _root_of(folder: Path, fs: FileSystem) -> Path | None:
    for root in (folder / _ROOT_NAME, folder):
        with suppress(OSError):
            if root.name == _ROOT_NAME and fs.status(root / _FORMAT_FILE).is_file:
                return root
    return None


class _Look:
    """Tries everything, and collects what is found."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._items: list[ProbeItem] = []
        self._clock: surroundings.Clock | None = None

    def run(self) -> DoctorReport:
        ground = self._ground
        space = surroundings.free_space(ground.place)
        self._note("space", surroundings.told_space(space))
        if self._can_write():
            self._try_everything()
        self._note("others of the group", surroundings.others_of_the_group(ground))
        if ground.is_repository:
            self._look_around()
        return DoctorReport(
            folder=str(ground.place.parent if ground.is_repository else ground.place),
            is_repository=ground.is_repository,
            probes=tuple(self._items),
            clock_skew_s=self._clock and self._clock.skew_s,
            mtime_step_s=self._clock and self._clock.step_s,
            free_bytes=space and space.n_bytes,
            free_inodes=space and space.n_inodes,
        )

    def _note(self, name: str, what: Found) -> None:
        item = ProbeItem(name=name, state=what.state, found=what.found, follows=what.follows)
        self._items.append(item)

    def _can_write(self) -> bool:
        name, is_repository = "writing", self._ground.is_repository
        try:
            self._ground.prepare()
        except OSError as err:
            follows = (
                "what is there can be listed, loaded and cloned; what writes is refused"
                if is_repository
                else "a repository cannot be made here; the rest was not tried"
            )
            found = f"this user cannot write: {reason(err)}"
            self._note(name, Found("degraded" if is_repository else "unusable", found, follows))
            return False
        self._note(name, Found("ok", "this user can write"))
        return True

    def _try_everything(self) -> None:
        for name, attempt in (
            ("exclusive creation", files.exclusive_creation),
            ("hard links", files.hard_links),
            ("rename over a file", files.rename),
            ("fsync of files", files.fsync),
            ("fsync of folders", files.fsync_folder),
            ("modes", files.modes),
            ("case of names", names.case),
            ("unicode names", names.other_letters),
            ("clock", self._look_at_clock),
            ("long names", names.long_names),
            ("long paths", names.long_paths),
            ("locks", surroundings.locks),
        ):
            self._try(name, attempt)

    def _try(self, name: str, attempt: Callable[[Ground], Found]) -> None:
        """Make one attempt; a refusal it does not expect ends it, and is told."""
        try:
            found = attempt(self._ground)
        except OSError as err:
            found = Found("unusable", f"it failed: {reason(err)}", "nothing can be relied on")
        self._note(name, found)

    def _look_at_clock(self, ground: Ground) -> Found:
        self._clock = surroundings.read_clock(ground)
        return surroundings.told_clock(self._clock)

    def _look_around(self) -> None:
        """Look at the modes of all that is in a repository."""
        ground = self._ground
        found = out_of_reach(ground.place, ground.fs, passing_over=ground.folder)
        if surroundings.is_shared(ground):
            self._note("modes here", surroundings.told_unfit(found.unfit))
        self._note("files here", surroundings.told_unread(found.unread))
