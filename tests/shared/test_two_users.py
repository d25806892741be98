"""Two users of a group and a third who is not, whatever their umask, on one folder.

Root may do anything, so root is not one of them: each order is carried out by a process that has
become somebody else.
"""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.shared.users import GROUP
from tupli_repo.repository import Repository

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root can be others"
)

REPOSITORY = Path(__file__).parents[2]
ADA, BOB = 12_001, 12_002
UMASKS = [0o077, 0o027, 0o002]
Do = Callable[..., Any]


@pytest.fixture(scope="module")
def do() -> Iterator[Do]:
    """Carry out an order as somebody; an error is one line that starts with its class."""
    with (
        TemporaryDirectory() as homes,
        subprocess.Popen(
            [sys.executable, "-m", "tests.shared.users"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as others,
    ):
        Path(homes).chmod(0o755)
        for user in (ADA, BOB):
            (Path(homes) / str(user)).mkdir()
            os.chown(Path(homes) / str(user), user, user)
        assert others.stdin is not None
        assert others.stdout is not None
        asking, telling = others.stdin, others.stdout

        def order(user: int, umask: int, name: str, *arguments: object, **options: object) -> Any:
            given = [str(one) if isinstance(one, Path) else one for one in arguments]
            home = f"{homes}/{user}"
            asking.write(json.dumps([user, umask, home, name, *given, options]) + "\n")
            asking.flush()
            told = json.loads(telling.readline())
            return told["value"] if "value" in told else told["error"]

        yield order
        asking.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of the group, and one for each user."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        for name, user, group, mode in (
            ("drive", ADA, GROUP, 0o2775),
            ("ada", ADA, ADA, 0o755),
            ("bob", BOB, BOB, 0o755),
        ):
            (place / name).mkdir()
            os.chown(place / name, user, group)
            (place / name).chmod(mode)
        yield place


def owners(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode, owner and group of everything in a folder."""
    return {
        path: (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
        for path in folder.rglob("*")
        if "staging" not in path.parts
        for found in [path.lstat()]
    }


def assert_untouched(before: dict[Path, tuple[int, int, int]]) -> None:
    """Nothing that was there has another mode or owner; what is gone is gone."""
    for path, told in before.items():
        if path.exists():
            found = path.lstat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == told, path


def clean_up(do: Do, user: int, umask: int, folder: Path) -> None:
    """Run the verbs that look after a repository, those there are."""
    for verb in ("gc", "fsck"):
        if hasattr(Repository, verb):
            told = do(user, umask, verb, folder)
            assert told is None or "Error" not in told, told


@pytest.mark.parametrize("one", UMASKS, ids=oct)
@pytest.mark.parametrize("other", UMASKS, ids=oct)
def test_two_users_share_a_drive(do: Do, place: Path, one: int, other: int) -> None:
    drive, ada, bob = place / "drive", place / "ada" / "work", place / "bob" / "work"
    assert do(ADA, one, "make", drive, bare=True) is None
    made = do(ADA, one, "work", ada, drive, 2)
    before = owners(drive)
    made += do(BOB, other, "work", bob, drive, 3)
    assert_untouched(before)
    assert do(ADA, one, "pull", ada) == do(BOB, other, "pull", bob) == sorted(made)
    assert do(BOB, other, "listed", drive) == do(ADA, one, "listed", drive) == sorted(made)
    before = owners(drive)
    for user, umask in ((BOB, other), (ADA, one)):
        clean_up(do, user, umask, drive)
        report = do(user, umask, "doctor", drive)
        assert report["state"] == "ok", report
    assert_untouched(before)
    made += do(BOB, other, "work", bob, drive, 1)
    assert do(ADA, one, "pull", ada) == sorted(made)
    assert {owner for _, owner, _ in owners(drive).values()} == {ADA, BOB}
    assert {group for _, _, group in owners(drive).values()} == {GROUP}


@pytest.mark.parametrize(("one", "other"), [(0o077, 0o077), (0o027, 0o002), (0o002, 0o077)])
def test_two_users_work_in_one_repository(do: Do, place: Path, one: int, other: int) -> None:
    both = place / "drive"
    assert do(ADA, one, "make", both, bare=False) is None
    made = do(ADA, one, "record_here", both, 2)
    before = owners(both)
    theirs = do(BOB, other, "record_here", both, 2)
    left = do(BOB, other, "leave_a_journal", both)
    assert_untouched(before)
    assert do(ADA, one, "listed", both) == sorted([*made, *theirs, *left])
    assert do(ADA, one, "remove_here", both, theirs[:1]) is None
    assert do(BOB, other, "remove_here", both, made[:1]) is None
    assert do(BOB, other, "listed", both) == sorted([made[1], theirs[1], *left])
    for user, umask in ((BOB, other), (ADA, one)):
        clean_up(do, user, umask, both)
        assert do(user, umask, "doctor", both)["state"] == "ok"
        assert do(user, umask, "listed", both) == sorted([made[1], theirs[1], *left])


def test_a_repository_of_somebody_else_is_read_and_not_written(do: Do, place: Path) -> None:
    theirs = place / "ada" / "theirs"
    made = do(ADA, 0o022, "work", theirs, place / "ada" / "nowhere", 2)
    assert "nowhere" in made  # there is no such drive; what was recorded stays
    made = do(ADA, 0o022, "record_here", theirs, 2)
    ids = do(ADA, 0o022, "listed", theirs)
    before = owners(theirs)
    assert do(BOB, 0o022, "listed", theirs) == ids
    assert do(BOB, 0o022, "clone", theirs, place / "bob" / "copy") == sorted(ids)
    if hasattr(Repository, "fsck"):
        assert "Error" not in do(BOB, 0o022, "fsck", theirs)
    refused = do(BOB, 0o022, "write_somehow", theirs)
    assert len(refused) == 6, refused
    for told in refused:
        assert "permission denied" in told
        assert "check the permissions" in told
        assert "\n" not in told
    report = do(BOB, 0o022, "doctor", theirs)
    assert report["state"] == "degraded"
    assert report["verdict"].endswith("writing")
    assert owners(theirs) == before


def test_a_repository_nobody_may_change_is_read(do: Do, place: Path) -> None:
    """As on a drive that is mounted to be read: not even its owner writes."""
    mine = place / "ada" / "mine"
    assert "nowhere" in do(ADA, 0o022, "work", mine, place / "nowhere", 2)
    ids = do(ADA, 0o022, "listed", mine)
    for path in [*mine.rglob("*"), mine]:
        if path.is_dir():
            path.chmod(0o555)
    before = owners(mine)
    for user in (ADA, BOB):
        assert do(user, 0o022, "listed", mine) == ids
        assert len(do(user, 0o022, "write_somehow", mine)) == 6
        assert do(user, 0o022, "doctor", mine)["state"] == "degraded"
    assert do(BOB, 0o022, "clone", mine, place / "bob" / "copy") == ids
    assert owners(mine) == before


def test_a_file_that_nobody_else_reads_is_told_by_name(do: Do, place: Path) -> None:
    drive, ada = place / "drive", place / "ada" / "work"
    do(ADA, 0o077, "make", drive, bare=True)
    do(ADA, 0o077, "work", ada, drive, 2)
    (pack,) = (drive / ".tupli" / "packs").glob("*.pack")
    pack.chmod(0o400)
    report = do(BOB, 0o077, "doctor", drive)
    assert report["state"] == "degraded"
    assert report["verdict"].endswith("modes here, files here")
    told = do(BOB, 0o077, "clone", drive, place / "bob" / "copy")
    assert pack.name in told
    assert "permission denied" in told
    assert stat.S_IMODE(pack.stat().st_mode) == 0o400
