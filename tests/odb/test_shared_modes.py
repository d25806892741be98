"""Repositories that a group shares: what is made in one is for all of it, whatever the umask."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults import FailingFileSystem, HastyFileSystem, RecordingFileSystem, broken_disk
from tests.faults import each_step as each_step_of
from tests.odb.samples import HELLO, everything, new_files, staged
from tupli_repo.errors import InvalidInputError, StorageIOError
from tupli_repo.odb.files import FileStatus, RepositoryFiles, Scratch, replace_file
from tupli_repo.odb.store import ObjectStore
from tupli_repo.odb.trash import move_to_trash
from tupli_repo.repository.location import create

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes say nothing there")

REPOSITORY = Path(__file__).parents[2]
NOBODY_KNOWS = "no-such-group-here"
FULL_LIFE = """
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tests.odb.samples import blob, episode
from tests.odb.sides import keep, release
from tupli_repo.odb.files import RepositoryFiles, replace_file
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.refs import Record, RefName, RefStore
from tupli_repo.odb.store import ObjectStore
from tupli_repo.odb.transport import DirectoryTransport
from tupli_repo.repository.location import create

folder, numbers = Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[2]) + 2)
if len(sys.argv) > 3:  # all modules are loaded: this user may not be able to
    os.setgroups([int(sys.argv[4])])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
os.umask(0o077)
root = folder / ".tupli"
if not root.exists():
    create(folder, role="bare", shared=True)
files = RepositoryFiles(root)
store = ObjectStore(files)
made = release(numbers)
keep(store, made)
RefStore(files).put(Record(RefName("global", "dataset", f"name-{numbers[0]}"), 1, (), made.root))
DirectoryTransport(files).put("objects/ab/" + "c" * 61 + sys.argv[2], [b"some bytes"])
replace_file(root / "config.toml", b"")
store.append(episode(90 + numbers[0]))  # leaves a journal
os._exit(0)
"""


def live(folder: Path, number: int, *user_and_group: int) -> None:
    """Do in a process with a narrow umask all that is ever done to a repository."""
    subprocess.run(
        [sys.executable, "-c", FULL_LIFE, folder, *map(str, (number, *user_and_group))],
        cwd=REPOSITORY,
        check=True,
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def wrong_modes(root: Path) -> dict[str, str]:
    """What below a shared repository has another mode than it should."""
    wrong = {}
    for path in [root, *root.rglob("*")]:
        is_growing = path.suffix in (".journal", ".toml", ".lock")
        wanted = 0o2775 if path.is_dir() else 0o664 if is_growing else 0o444
        if mode(path) != wanted:
            wrong[str(path.relative_to(root))] = oct(mode(path))
    return wrong


def test_all_that_is_made_in_a_shared_repository_is_for_the_group(tmp_path: Path) -> None:
    live(tmp_path / "new" / "drive", 0)
    root = tmp_path / "new" / "drive" / ".tupli"
    assert wrong_modes(root) == {}
    made = {path.relative_to(root).parts[0] for path in root.rglob("*") if path.is_file()}
    assert made >= {"format.json", "config.toml", "objects", "packs", "refs", "trash"}
    assert {path.suffix for path in (root / "packs").iterdir()} == {".pack", ".journal"}
    assert mode(tmp_path / "new") == mode(tmp_path / "new" / "drive") == 0o755  # to pass through


def test_without_it_the_umask_has_its_say(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        root = create(tmp_path / "mine", role="work")
        replace_file(root / "config.toml", b"")
    finally:
        os.umask(before)
    assert all(mode(path) & 0o077 == 0 for path in [root, *root.rglob("*")])
    assert mode(tmp_path / "mine") & 0o077 == 0


def test_the_mode_of_the_root_tells_and_nothing_else(tmp_path: Path) -> None:
    files = new_files(tmp_path)
    files.root.chmod(0o2775)
    assert RepositoryFiles(files.root).modes.is_exact
    for other in (0o755, 0o2755, 0o775, 0o777):
        files.root.chmod(other)
        assert not RepositoryFiles(files.root).modes.is_exact
    (tmp_path / "config").mkdir()
    (tmp_path / "config").chmod(0o2775)  # a user's own folder, in a group's: no repository
    replace_file(tmp_path / "config" / "trust.toml", b"")
    assert mode(tmp_path / "config" / "trust.toml") & 0o020 == 0


def test_the_mode_of_the_root_is_looked_up_once(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = RepositoryFiles(create(tmp_path, role="bare", shared=True), fs)
    for number in range(5):
        files.write_atomic(files.packs / str(number), b"")
    looked = [call for call in fs.calls if call.name == "status" and call.path == files.root]
    assert len(looked) == 1
    files.close()


def test_what_others_made_is_never_touched(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = RepositoryFiles(create(tmp_path, role="bare", shared=True), fs)
    theirs = files.root / "refs" / "global"
    theirs.mkdir(mode=0o700)
    (files.packs / "NOTES.txt").touch(mode=0o600)
    files.ensure_folder(theirs)
    files.ensure_parents(theirs / "dataset" / "name" / "x")
    files.write_atomic(theirs / "dataset" / "name" / "x", b"")
    touched = {call.path for call in fs.calls if call.name == "chmod"}
    assert theirs not in touched
    assert theirs / "dataset" in touched
    assert mode(theirs) & 0o777 == 0o700
    assert mode(files.packs / "NOTES.txt") == 0o600


class RefusesChmod(HastyFileSystem):
    """A file system that knows no modes, or whose files are somebody else's."""

    def __init__(self, code: int) -> None:
        self._code = code

    def chmod(self, path: Path, mode: int) -> None:
        raise OSError(self._code, os.strerror(self._code), str(path))


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_a_chmod_that_is_refused_is_ignored(tmp_path: Path, code: int) -> None:
    root = create(tmp_path, role="bare", shared=True, fs=RefusesChmod(code))
    root.chmod(0o2775)
    store = ObjectStore(RepositoryFiles(root, RefusesChmod(code)))
    store.append([HELLO])
    store.close()
    assert list(everything(store).values()) == [HELLO]


def test_a_chmod_that_fails_otherwise_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    root = create(tmp_path, role="bare", shared=True)
    files = RepositoryFiles(root, RefusesChmod(errno.EIO))
    with pytest.raises(StorageIOError, match="cannot"):
        files.write_atomic(root / "x", b"")
    assert not staged(tmp_path)
    assert not (root / "x").exists()


def test_a_link_in_the_place_of_a_new_folder_leads_no_chmod_astray(tmp_path: Path) -> None:
    class Swapping(HastyFileSystem):
        """Somebody of the group swaps a folder for a link as soon as it is made."""

        def make_folder(self, path: Path, *, mode: int) -> None:
            super().make_folder(path, mode=mode)
            path.rmdir()
            path.symlink_to(tmp_path / "private")

    (tmp_path / "private").mkdir(mode=0o700)
    files = RepositoryFiles(create(tmp_path / "r", role="bare", shared=True), Swapping())
    with pytest.raises(StorageIOError):
        files.ensure_parents(files.root / "refs" / "global" / "x")
    assert mode(tmp_path / "private") == 0o700


@pytest.mark.parametrize("fault", [broken_disk, KeyboardInterrupt])
def test_a_fault_at_any_step_leaves_no_scratch_in_a_shared_repository(
    tmp_path: Path, fault: Callable[[], BaseException]
) -> None:
    kinds = set()
    for attempt in each_step_of(fault):
        files = new_files(tmp_path / str(attempt.step), attempt.fs, only_for=())
        files.root.chmod(0o2775)
        with attempt:
            with Scratch(files) as scratch:
                scratch.write(b"x")
                scratch.commit(files.root / "refs" / "x")
            move_to_trash(files, files.root / "refs" / "x", reason="why")
        kinds.add(attempt.fs.failed and attempt.fs.failed.name)
        assert not staged(tmp_path / str(attempt.step))
        attempt.fs.release()
    assert "chmod" in kinds


def own_group() -> str:
    import grp

    try:
        return grp.getgrgid(os.getgid()).gr_name
    except KeyError:
        pytest.skip("this process's group has no name")


def test_a_group_is_given_by_its_name(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    root = create(tmp_path, role="bare", shared=own_group(), fs=fs)
    assert wrong_modes(root) == {}
    steps = [call.name for call in fs.calls if call.path == root and call.changes]
    assert steps[:3] == ["make_folder", "change_group", "chmod"]
    assert all(path.stat().st_gid == os.getgid() for path in root.rglob("*"))


@pytest.mark.parametrize("name", [NOBODY_KNOWS, "", "a\0b"])
def test_a_group_that_there_is_not_is_told_before_anything_is_made(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidInputError, match="there is no group '") as caught:
        create(tmp_path / "r", role="bare", shared=name)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_a_group_one_may_not_give_to_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    class Refuses(HastyFileSystem):
        def change_group(self, path: Path, group: int) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    with pytest.raises(
        StorageIOError, match=r"cannot change the group of '.*tupli': operation not"
    ):
        create(tmp_path, role="bare", shared=own_group(), fs=Refuses())
    assert not (tmp_path / ".tupli").exists()


def test_a_shared_repository_that_was_begun_is_made_whole(tmp_path: Path) -> None:
    """What a killed `create` left: a root without its modes."""
    (tmp_path / ".tupli").mkdir()
    root = create(tmp_path, role="bare", shared=True)
    assert wrong_modes(root) == {}
    assert RepositoryFiles(root, FailingFileSystem(0, broken_disk())).modes.is_exact


def test_a_status_without_a_mode_is_that_of_a_private_repository(tmp_path: Path) -> None:
    class Modeless(HastyFileSystem):
        def status(self, path: Path) -> FileStatus:
            found = super().status(path)
            return FileStatus(
                size_bytes=found.size_bytes,
                mtime_ns=found.mtime_ns,
                ctime_ns=found.ctime_ns,
                inode=found.inode,
                is_file=found.is_file,
                is_folder=found.is_folder,
            )

    root = create(tmp_path, role="bare", shared=True)
    assert not RepositoryFiles(root, Modeless()).modes.is_exact


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may reach, unlike pytest's own."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two")
def test_two_users_of_a_group_write_to_one_repository(open_folder: Path) -> None:
    ada, bob, group = 61_001, 61_002, 61_999
    drive = open_folder / "drive"
    drive.mkdir()
    os.chown(drive, ada, group)
    drive.chmod(0o2775)
    live(drive, 0, ada, group)
    live(drive, 3, bob, group)
    live(drive, 6, ada, group)
    assert wrong_modes(drive / ".tupli") == {}
    owners = {path.stat().st_uid for path in (drive / ".tupli").rglob("*")}
    assert owners == {ada, bob}
    assert {path.stat().st_gid for path in (drive / ".tupli").rglob("*")} == {group}
