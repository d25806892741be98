"""Push, pull and clone that die or are refused at every step; many at once; strange remotes."""

import errno
import gc
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults import (
    HastyFileSystem,
    Killed,
    RecordingFileSystem,
    broken_disk,
    each_step,
    full_disk,
)
from tests.odb.samples import overwrite, staged
from tests.repository.people import (
    artifact,
    benchmark,
    drive,
    files_in,
    ids_in,
    opened,
    person,
    published,
    record,
    revisions,
)
from tupli_repo.errors import (
    CorruptObjectError,
    RepositoryNotFoundError,
    StorageIOError,
    TupliError,
    UnsupportedFormatError,
)
from tupli_repo.odb.files import FileSystem
from tupli_repo.odb.objects import Kind
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository import Repository
from tupli_repo.schema.transfers import TransferReport

PROJECT = Path(__file__).parents[2]
SHARED = (Kind.BENCHMARK, Kind.ARTIFACT, Kind.EPISODE, Kind.EPISODES, Kind.RELEASE, Kind.PROVENANCE)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a drive, Ada's repository, and Bob's; Ada and Bob have news for each other."""
    root = tmp_path_factory.mktemp("lab")
    hub = drive(root / "drive")
    ada = person(root / "ada")
    walk = benchmark(ada)
    record(ada, walk, 3)
    ada.publish("walk", episodes=True)
    ada.push(str(hub))
    bob = Repository.clone(hub, root / "bob", fs=HastyFileSystem())
    record(bob, walk, 2)
    bob.publish("walk", episodes=True)
    bob.publish(artifact(bob))
    bob.push()
    record(ada, walk, 4)
    ada.publish("walk", episodes=True)
    ada.unpublish("walk", episodes=[min(published(ada))])
    for who in (ada, bob):
        who.close()
    for folder in (hub, root / "ada", root / "bob"):
        for path in (folder / ".tupli" / "objects").iterdir():
            if not any(path.iterdir()):
                path.rmdir()  # so that copying is quick
    return root


@pytest.fixture(scope="module")
def after(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab after Ada's push and pull."""
    root = tmp_path_factory.mktemp("after") / "lab"
    shutil.copytree(lab, root)
    ada = opened(root / "ada")
    ada.push(str(root / "drive"))
    ada.pull(str(root / "drive"))
    ada.close()
    return root


def state(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """What each name leads to: revisions and digests."""
    return {
        item.name: sorted((one.revision, one.digest) for one in item.current)
        for item in opened(folder).names()
    }


def assert_readable(folder: Path, before: Path, after: Path) -> None:
    """Each name leads to whole revisions there were before or are to be; nothing is lost."""
    who = opened(folder)
    to_be = {item.revision for item in opened(after).log()}
    for item in who.names():
        assert item.current
        assert {one.revision for one in item.current} <= to_be
        assert not any(one.pending for one in item.current)
    kept = ids_seen(before) & ids_seen(after)
    assert kept <= {header.id for header in who.episode_headers()}


def ids_seen(folder: Path) -> set[str]:
    return {header.id for header in opened(folder).episode_headers()}


def dead(who: Repository) -> None:
    """Leave a repository as a killed process does: nothing is run at its end."""
    who._store._close.detach()


def all_dead(fs: FileSystem) -> None:
    """Leave every repository that was opened with a file system."""
    for store in [one for one in gc.get_objects() if isinstance(one, ObjectStore)]:
        if store._files.fs is fs:
            store._close.detach()


FAULTS = [
    Killed,
    full_disk,
    pytest.param(broken_disk, marks=pytest.mark.slow),
    pytest.param(KeyboardInterrupt, marks=pytest.mark.slow),
]
FAN_OUT = range(12, 260)  # making one of 256 folders is like making another


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_whatever_happens_at_any_step_the_receiver_reads_well_and_the_next_run_completes(
    tmp_path, lab, after, verb, fault
):
    receiver, sender = ("drive", "ada") if verb == "push" else ("ada", "drive")
    start = tmp_path / "start"
    shutil.copytree(lab, start)
    for attempt in each_step(fault):
        here = tmp_path / str(attempt.step)
        shutil.copytree(start, here)
        sent = files_in([here / sender])
        who = opened(here / "ada", attempt.fs)
        with attempt:
            getattr(who, verb)(str(here / "drive"))
        dead(who)
        assert_readable(here / receiver, start / receiver, after / receiver)
        assert files_in([here / sender]) == sent
        assert fault is Killed or not staged(here / receiver)
        who = opened(here / "ada")
        getattr(who, verb)(str(here / "drive"))
        assert state(here / receiver) == state(after / receiver)
        assert ids_in(here / receiver, *SHARED) == ids_in(after / receiver, *SHARED)
        assert getattr(who, verb)(str(here / "drive")).n_objects == 0
        dead(who)
        shutil.rmtree(here)


def test_what_was_there_is_cloned_while_somebody_s_push_lies_cut_off(tmp_path):
    """What was taken back before it was pushed is named by a record that has come, and not sent."""
    hub = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada")
    record(ada, benchmark(ada), 3)
    ada.publish("walk", episodes=True)
    ada.push(str(hub))
    before = published(ada)
    ada.publish("walk", episodes=record(ada, ada.list_benchmarks()[0].id, 1))
    (new,) = published(ada) - before
    ada.unpublish("walk", episodes=[new])
    ada.close()
    was_torn = False
    for attempt in each_step(Killed):
        here = tmp_path / str(attempt.step)
        shutil.copytree(hub, here / "drive")
        who = opened(tmp_path / "ada", attempt.fs)
        with attempt:
            who.push(str(here / "drive"))
        dead(who)
        reports: list[TransferReport] = []
        bob = Repository.clone(
            here / "drive", here / "bob", fs=HastyFileSystem(), on_done=reports.append
        )
        assert published(bob) == before
        was_torn |= reports[0].incomplete == ("global/benchmark/walk",)
        opened(tmp_path / "ada").push(str(here / "drive"))
        assert bob.pull().is_clean
        assert published(bob) == before
        assert len(bob.log("walk")) == 3
        dead(bob)
        shutil.rmtree(here)
    assert was_torn


@pytest.mark.parametrize("fault", FAULTS)
def test_a_clone_that_stops_at_any_step_is_completed_by_the_next(tmp_path, lab, fault):
    for attempt in each_step(fault, skip=FAN_OUT):
        there = tmp_path / str(attempt.step)
        with attempt:
            Repository.clone(lab / "drive", there, fs=attempt.fs)
        all_dead(attempt.fs)
        if (there / ".tupli" / "format.json").exists():
            assert_readable(there, there, lab / "drive")
        made = Repository.clone(lab / "drive", there, fs=HastyFileSystem())
        assert state(there) == state(lab / "drive")
        assert ids_in(there) == ids_in(lab / "drive")
        assert revisions(made) == revisions(opened(lab / "drive"))
        dead(made)
        shutil.rmtree(there)


# ---- many at once

PUBLISH = """
import sys
from tests.repository.people import opened, record
who = opened(sys.argv[1])
record(who, who.list_benchmarks()[0].id, 2, by=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
from tupli_repo.schema import FilterEQ
who.publish("walk", episodes=FilterEQ(key="metadata.by", value=sys.argv[2]))
who.close()
"""
PUSH = """
import sys
from tests.repository.people import opened
who = opened(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
who.push(sys.argv[2])
"""


def at_once(code: str, arguments: list[tuple[object, ...]]) -> None:
    """Run some code in as many processes, which start together."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        for args in arguments
    ]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in running:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in running:
        _, errors = one.communicate()
        assert one.returncode == 0, errors


def test_sixteen_processes_publish_one_name_and_none_is_lost(tmp_path):
    ada = person(tmp_path / "ada")
    benchmark(ada)
    at_once(PUBLISH, [(tmp_path / "ada", n) for n in range(16)])
    made = [item for item in ada.log("walk") if not item.is_union]
    assert len(made) == 16
    assert all(item.n_episodes >= 2 for item in made)
    assert {item.n_added for item in made} == {2}
    record(ada, ada.list_benchmarks()[0].id, 1, by="ada")
    ada.publish("walk", episodes=True)
    (head,) = ada.names()[0].current
    assert head.n_episodes == 33
    assert published(ada) == {header.id for header in ada.episode_headers()}


def test_eight_processes_push_to_one_drive_at_once_and_all_is_there(tmp_path):
    hub = drive(tmp_path / "drive")
    everything = set()
    for n in range(8):
        who = person(tmp_path / str(n))
        everything |= set(record(who, benchmark(who), 5, by=n))
        who.publish("walk", episodes=True)
        who.close()
    at_once(PUSH, [(tmp_path / str(n), hub) for n in range(8)])
    eve = Repository.clone(hub, tmp_path / "eve", fs=HastyFileSystem())
    assert published(eve) == everything
    assert len([item for item in eve.log("walk") if not item.is_union]) == 8
    eve.push()
    (head,) = opened(hub).names()[0].current
    assert head.n_episodes == 40


# ---- strange remotes


@pytest.fixture
def drive_of_ada(tmp_path: Path, lab: Path) -> Path:
    shutil.copytree(lab / "drive", tmp_path / "drive")
    return tmp_path / "drive"


def test_a_remote_that_is_not_there_is_told(tmp_path, lab):
    shutil.copytree(lab / "ada", tmp_path / "ada")
    ada = opened(tmp_path / "ada")
    before = files_in([ada.root])
    (tmp_path / "empty").mkdir()
    for path in ("nowhere/else", "empty"):
        ada.add_remote(path[:3], tmp_path / path)
        for verb in (ada.push, ada.pull, ada.fetch, ada.sync):
            with pytest.raises(RepositoryNotFoundError, match="there is no repository in"):
                verb(path[:3])
    assert files_in([ada.root]).keys() - before.keys() == {ada.root / "config.toml"}


class _Refusing(HastyFileSystem):
    """Refuses to change what is below a folder."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        self.number = number

    def _refuse(self, path: Path) -> None:
        if self.folder in path.parents:
            raise OSError(self.number, os.strerror(self.number), str(path))

    def create(self, path: Path, *, mode: int) -> int:
        self._refuse(path)
        return super().create(path, mode=mode)

    def make_folder(self, path: Path, *, mode: int) -> None:
        self._refuse(path)
        super().make_folder(path, mode=mode)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_remote_that_can_only_be_read_is_pulled_from_and_refuses_a_push(
    tmp_path, lab, after, drive_of_ada, number
):
    shutil.copytree(lab / "ada", tmp_path / "ada")
    ada = opened(tmp_path / "ada", _Refusing(drive_of_ada, number))
    before = files_in([tmp_path])
    with pytest.raises(StorageIOError, match="cannot"):
        ada.push(str(drive_of_ada))
    assert files_in([tmp_path]) == before
    ada.pull(str(drive_of_ada))
    assert len(published(ada)) == 8


def test_a_drive_that_goes_away_in_the_middle_is_an_error(tmp_path, lab, drive_of_ada):
    shutil.copytree(lab / "ada", tmp_path / "ada")

    class Vanishing(RecordingFileSystem):
        def create(self, path: Path, *, mode: int) -> int:
            if drive_of_ada in path.parents and drive_of_ada.exists():
                drive_of_ada.rename(tmp_path / "away")
            return super().create(path, mode=mode)

    ada = opened(tmp_path / "ada", Vanishing())
    with pytest.raises(StorageIOError):
        ada.push(str(drive_of_ada))
    (tmp_path / "away").rename(drive_of_ada)
    opened(tmp_path / "ada").push(str(drive_of_ada))
    assert len(opened(drive_of_ada).episode_headers()) == 8


@pytest.mark.parametrize("part", ["packs/*.pack", "objects/*/*", "refs/*/*/*/*"])
def test_damage_there_is_told_and_leaves_what_is_here_as_it_was(tmp_path, lab, drive_of_ada, part):
    for n, path in enumerate(sorted((drive_of_ada / ".tupli").glob(part))):
        data = path.read_bytes()
        middle = len(data) // 2
        overwrite(path, data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :])
        there = tmp_path / str(n)
        bob = person(there)
        before = files_in([bob.root / "refs"])
        try:
            report = bob.pull(str(drive_of_ada))
        except CorruptObjectError as err:
            told = [err.message]
            assert files_in([bob.root / "refs"]) == before
        else:
            told = [*report.damaged]
        assert any(str(path) in line for line in told), told
        for oid in ids_in(there):
            bob.read_object(oid)
        overwrite(path, data)
        bob.pull(str(drive_of_ada))
        assert state(there) == state(drive_of_ada)


def test_a_damaged_record_there_stops_its_name_alone(tmp_path, lab, drive_of_ada):
    shutil.copytree(lab / "ada", tmp_path / "ada")
    (path,) = (drive_of_ada / ".tupli").glob("refs/global/artifact/wind/*")
    overwrite(path, b"{}\n")
    ada = opened(tmp_path / "ada")
    report = ada.pull(str(drive_of_ada))
    assert "'global/artifact/wind' was left out" in report.damaged[0]
    assert str(path) in report.damaged[0]
    assert not report.is_clean
    assert len(published(ada)) == 8
    assert ada.push(str(drive_of_ada)).damaged
    with pytest.raises(CorruptObjectError, match="nothing is pruned while something is damaged"):
        ada.push(str(drive_of_ada), prune=True)


def test_a_name_of_which_something_is_missing_is_left_out_and_told(tmp_path, drive_of_ada):
    (release,) = ids_in(drive_of_ada, Kind.ARTIFACT) & ids_in(drive_of_ada)
    (drive_of_ada / ".tupli" / "objects" / release[:2] / release[2:]).unlink()
    bob = person(tmp_path / "bob")
    report = bob.pull(str(drive_of_ada))
    assert report.incomplete == ("global/artifact/wind",)
    assert [item.name for item in bob.names()] == ["walk"]


def test_strangers_links_and_twins_there_are_passed_over(tmp_path, drive_of_ada):
    root = drive_of_ada / ".tupli"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    (record_file,) = root.glob("refs/global/artifact/wind/*")
    (root / "refs" / "global" / "artifact" / "WIND").mkdir()
    (root / "refs" / "global" / "artifact" / "WIND" / record_file.name).write_bytes(b"x")
    (root / "refs" / "global" / "artifact" / "linked").symlink_to(outside)
    (root / "refs" / "global" / "artifact" / "wind" / "00000001-000000000000.tmp").write_bytes(b"x")
    (root / "refs" / "..strange").mkdir()
    (root / "packs" / ("0" * 64 + ".pack")).symlink_to(outside / "file")
    (root / "packs" / "conflicted copy.pack").write_bytes(b"x")
    (root / "objects" / "zz").mkdir()
    before = files_in([tmp_path / "outside", drive_of_ada])
    bob = person(tmp_path / "bob")
    bob.pull(str(drive_of_ada))
    assert len(published(bob)) == 5
    assert files_in([tmp_path / "outside", drive_of_ada]) == before
    written = {path for path in files_in([tmp_path]) if path not in before}
    assert all(tmp_path / "bob" / ".tupli" in path.parents for path in written)


@pytest.mark.parametrize("folder", ["packs", "objects", "refs", "staging"])
def test_a_folder_there_that_leads_elsewhere_is_refused(tmp_path, lab, drive_of_ada, folder):
    shutil.copytree(lab / "ada", tmp_path / "ada")
    outside = tmp_path / "outside"
    (drive_of_ada / ".tupli" / folder).rename(outside)
    (drive_of_ada / ".tupli" / folder).symlink_to(outside)
    before = files_in([outside, tmp_path / "ada"])
    with pytest.raises(StorageIOError, match="is not a folder"):
        opened(tmp_path / "ada").push(str(drive_of_ada))
    assert files_in([outside, tmp_path / "ada"]) == before


def test_a_repository_of_a_newer_version_is_told(tmp_path, lab, drive_of_ada):
    overwrite(drive_of_ada / ".tupli" / "format.json", b'{"tupli": 99, "id": "x"}\n')
    with pytest.raises(UnsupportedFormatError, match="has format 99"):
        person(tmp_path / "bob").pull(str(drive_of_ada))


def test_a_thousand_names_there_are_no_trouble(tmp_path):
    hub = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", hub)
    walk = benchmark(ada)
    with ada.batch():
        for n in range(1000):
            ada.publish(walk, as_name=f"walk-{n}")
    ada.push()
    bob = person(tmp_path / "bob", hub)
    assert len(bob.pull().names) == 1000
    assert bob.push().names == ()


def test_no_error_but_ours_comes_of_a_remote_that_lies(tmp_path, lab, drive_of_ada):
    """Each file there in turn is another one's bytes, empty, or cut."""
    paths = [path for path in files_in([drive_of_ada / ".tupli"]) if path.name != ".gitignore"]
    originals = {path: path.read_bytes() for path in paths}
    bob_number = 0
    for path in paths:
        others = [originals[other] for other in paths if other != path][:3]
        for lie in (b"", originals[path][:-1], originals[path] + b"x", *others):
            overwrite(path, lie)
            bob_number += 1
            bob = person(tmp_path / f"bob {bob_number}")
            with suppress(TupliError):
                bob.pull(str(drive_of_ada))
            for oid in ids_in(bob.root.parent):
                bob.read_object(oid)
        overwrite(path, originals[path])
