"""fsck and repair as people meet them: what is told, what is brought back, what is lost."""

import os
import shutil
from collections.abc import Callable, Container
from pathlib import Path

import pytest

from tests.faults import (
    HastyFileSystem,
    Killed,
    MemoryFileSystem,
    broken_disk,
    each_step,
    full_disk,
)
from tests.odb.samples import overwrite
from tests.repository.people import artifact, benchmark, drive, opened, person, published, record
from tests.repository.test_damage import objects_in
from tupli_repo.errors import (
    InvalidInputError,
    NotFoundError,
    RepositoryNotFoundError,
    UnsupportedFormatError,
)
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.maintenance.check import Choice, Survey
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.repository import Repository
from tupli_repo.repository.checking import fsck_folder, repair_folder
from tupli_repo.schema.checks import FsckReport


def errors(report: FsckReport) -> list[str]:
    return [one.code for one in report.findings if one.severity == "error"]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    overwrite(path, bytes(data))


def the_pack(folder: Path) -> Path:
    (path,) = (folder / ".tupli" / "packs").glob("*.pack")
    return path


def loose(folder: Path, oid: str) -> Path:
    return folder / ".tupli" / "objects" / oid[:2] / oid[2:]


def empty_trash(folder: Path) -> None:
    shutil.rmtree(folder / ".tupli" / "trash")
    (folder / ".tupli" / "trash").mkdir()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ada's repository, pushed to a drive: a benchmark, three episodes in a pack, an artifact."""
    hub = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", hub)
    walk = benchmark(ada)
    record(ada, walk, 3)
    ada.publish("walk", episodes=True)
    ada.publish(artifact(ada))
    ada.push()
    ada.close()
    empty_trash(tmp_path / "ada")
    return tmp_path / "ada"


def test_a_whole_repository_is_clean_at_every_level(folder: Path):
    who = opened(folder)
    for level in ("quick", "data", "deep"):
        report = who.fsck(level)
        assert report.findings == ()
        assert report.is_clean
        assert report.n_objects == len(objects_in(folder))
    assert who.fsck("data").bytes_read > 1000 > who.fsck().bytes_read
    assert who.fsck(sample="2/3").level == "data"
    assert fsck_folder(folder.parent / "drive", "deep").findings == ()


def test_progress_ends_with_everything(folder: Path):
    seen: list[tuple[int, int]] = []
    opened(folder).fsck("data", on_progress=lambda done: seen.append((done.bytes_done, done.bytes)))
    assert seen[-1][0] == seen[-1][1] > 0


@pytest.mark.parametrize("sample", ["0%", "101%", "0/3", "4/3", "a third", "", "1/0"])
def test_a_sample_that_is_none_is_refused(folder: Path, sample: str):
    with pytest.raises(InvalidInputError, match="no part"):
        opened(folder).fsck(sample=sample)


def test_a_finding_says_what_is_wrong_what_depends_on_it_and_what_to_do(folder: Path):
    flip(the_pack(folder), 8 + 20)
    (finding,) = fsck_folder(folder, "data").findings
    assert finding.severity == "error"
    assert finding.code == "damaged"
    assert finding.path == f"packs/{the_pack(folder).name}"
    assert "checksum" in finding.message
    assert finding.affects == ("name 'global/benchmark/walk'", "3 episodes of 'walk'")
    assert "tupli fsck --repair" in finding.hint


def test_something_missing_is_told_with_what_needs_it(folder: Path):
    who = opened(folder)
    (header,) = who.list_benchmarks()
    loose(folder, header.env).unlink()
    (finding,) = fsck_folder(folder).findings
    assert (finding.code, finding.object_id) == ("missing", header.env)
    assert "a benchmark needs" in finding.message
    assert "benchmark 'walk'" in finding.affects
    assert "3 episodes of 'walk'" in finding.affects


def test_an_unfinished_push_is_pending_on_a_drive_and_no_error(folder: Path):
    hub = Repository(folder.parent / "drive")
    hub._store.write(Object(kind=Kind.EPISODE, links=(ObjectId("a" * 64),), body=b"{}"))
    report = hub.fsck()
    (finding,) = report.findings
    assert (finding.severity, finding.code) == ("warning", "pending")
    assert report.is_clean
    who = opened(folder)
    who._store.write(Object(kind=Kind.EPISODE, links=(ObjectId("a" * 64),), body=b"{}"))
    assert errors(who.fsck()) == ["missing"]


def test_what_was_pruned_on_a_drive_is_not_missed(folder: Path):
    who = opened(folder)
    who.unpublish("walk", episodes=[min(published(who))])
    who.push(prune=True)
    assert fsck_folder(folder.parent / "drive", "deep").findings == ()
    cloned = Repository.clone(folder.parent / "drive", folder.parent / "bob", fs=HastyFileSystem())
    assert cloned.fsck("deep").findings == ()


def test_a_missing_parent_of_a_revision_is_found_and_fetched(folder: Path):
    who = opened(folder)
    record(who, who.list_benchmarks()[0].id, 1)
    who.publish("walk", episodes=True)
    who.push()
    first = min((folder / ".tupli/refs/global/benchmark/walk").iterdir())
    data = first.read_bytes()
    first.unlink()
    assert errors(fsck_folder(folder)) == ["missing"]
    report = repair_folder(folder)
    assert report.is_whole
    assert first.read_bytes() == data
    assert [one.kind for one in report.restored] == ["record"]


def test_malformed_records_are_found_deep_and_only_there(folder: Path):
    who = opened(folder)
    (header,) = who.list_benchmarks()
    bad = [
        Object(kind=Kind.PROVENANCE, body=b"{}"),
        Object(kind=Kind.ARTIFACT, body=b"[]"),
        Object(kind=Kind.EPISODE, links=(ObjectId(header.id),), body=b"{}"),
        Object(kind=Kind.BENCHMARK, links=(ObjectId(header.id),), body=b'{"name": 3}'),
    ]
    for obj in bad:
        who._store.write(obj)
    assert fsck_folder(folder, "data").is_clean
    assert errors(fsck_folder(folder, "deep")) == ["malformed"] * len(bad)


def test_columns_that_do_not_fit_their_record_are_found_deep(folder: Path):
    who = opened(folder)
    oid = ObjectId(who.episode_headers()[0].id)
    obj = who._store.read(oid)
    longer = obj.body.replace(b'"n_steps":', b'"n_steps":1')
    who._store.append([Object(kind=Kind.EPISODE, links=obj.links, body=longer)])
    who._store.sync()
    assert fsck_folder(folder, "data").is_clean
    assert errors(fsck_folder(folder, "deep")) == ["malformed"]


def test_a_repository_that_cannot_be_opened_can_be_checked_and_repaired(folder: Path):
    (folder / ".tupli/format.json").write_bytes(b"\0" * 20)
    settings = folder / ".tupli/config.toml"
    settings.write_bytes(settings.read_bytes() + b'\nnonsense = "\n')
    assert errors(fsck_folder(folder)) == ["damaged", "damaged"]
    report = repair_folder(folder)
    assert report.is_whole
    assert set(report.rebuilt) == {"format.json", "config.toml"}
    who = opened(folder)
    assert [one.name for one in who.remotes()] == ["origin"]
    assert who.format.role == "work"
    (folder / ".tupli/format.json").unlink()
    assert repair_folder(folder).is_whole
    with pytest.raises(RepositoryNotFoundError):
        fsck_folder(folder.parent)


def test_the_role_and_id_of_a_damaged_format_are_kept(tmp_path: Path):
    hub = Repository.init(tmp_path / "hub", bare=True)
    path = hub.root / "format.json"
    overwrite(path, path.read_bytes()[:-3])
    assert repair_folder(tmp_path / "hub").is_whole
    again = opened(tmp_path / "hub")
    assert (again.format.role, again.format.id) == ("bare", hub.format.id)


def test_a_format_of_any_size_is_not_read_to_its_end(tmp_path: Path):
    hub = Repository.init(tmp_path / "hub", bare=True)
    path = hub.root / "format.json"
    path.chmod(0o644)
    os.truncate(path, 1 << 40)  # it takes no room, and no memory holds it
    (finding,) = fsck_folder(tmp_path / "hub").findings
    assert (finding.code, finding.path) == ("damaged", "format.json")
    assert finding.message == "it is too long"
    assert repair_folder(tmp_path / "hub").is_whole
    again = opened(tmp_path / "hub")
    assert (again.format.role, again.format.id) == ("bare", hub.format.id)


def test_what_a_newer_version_wrote_is_left_alone(folder: Path):
    path = folder / ".tupli/format.json"
    overwrite(path, path.read_bytes().replace(b'"tupli": 1', b'"tupli": 2'))
    for verb in (fsck_folder, repair_folder):
        with pytest.raises(UnsupportedFormatError):
            verb(folder)


# ---- repair


def test_without_a_remote_what_is_whole_is_kept_and_what_is_lost_is_told(folder: Path):
    who = opened(folder)
    who.remove_remote("origin")
    before = objects_in(folder)
    pack = the_pack(folder)
    damaged = bytearray(pack.read_bytes())
    damaged[8 + 20] ^= 1
    overwrite(pack, bytes(damaged))
    lost = before.keys() - objects_after_scan(folder)
    report = who.repair()
    assert not report.is_whole
    assert {one.object_id for one in report.lost} == lost
    assert {one.kind for one in report.lost} == {"blob"}
    (of_walk,) = report.lost_episodes
    assert (of_walk.title, of_walk.n_episodes) == ("walk", 3)
    assert of_walk.n_steps > 0
    assert report.set_aside == (f"packs/{pack.name}",)
    assert (Path(report.folder) / "packs" / pack.name).read_bytes() == bytes(damaged)
    assert objects_in(folder) == {oid: before[oid] for oid in before.keys() - lost}
    assert who.episode_headers() == []
    assert who.status().pending == 3
    assert len(who.list_benchmarks()) == len(who.list_artifacts()) == 1
    again = who.repair()
    assert again.set_aside == ()
    assert {one.object_id for one in again.lost} == lost
    # and once there is a remote, all comes back
    who.add_remote("origin", folder.parent / "drive")
    assert who.repair().is_whole
    assert objects_in(folder) == before
    assert len(who.episode_headers()) == 3


def objects_after_scan(folder: Path) -> set[ObjectId]:
    survey = Survey(RepositoryFiles(folder / ".tupli"), Choice(everything=True))
    survey.run()
    return {ObjectId(raw.hex()) for raw in survey.present}


def test_what_is_in_the_trash_is_brought_back_from_there(folder: Path):
    who = opened(folder)
    who.remove_remote("origin")
    before = objects_in(folder)
    (folder / ".tupli/trash/some").mkdir()
    shutil.copy(the_pack(folder), folder / ".tupli/trash/some")
    some = who.list_artifacts()[0].id
    shutil.copy(loose(folder, some), folder / ".tupli/trash/some" / some)
    flip(the_pack(folder), 8 + 20)
    loose(folder, some).unlink()
    report = who.repair()
    assert report.is_whole
    assert {one.source for one in report.restored} == {"trash"}
    assert objects_in(folder) == before


def test_a_copy_in_another_pack_is_enough(folder: Path):
    who = opened(folder)
    who.remove_remote("origin")
    before = objects_in(folder)
    objects = [who._store.read(oid) for oid in before]
    who._store.append([obj for obj in objects if obj.kind in (Kind.BLOB, Kind.EPISODE)])
    who.close()
    empty_trash(folder)
    largest = max((folder / ".tupli/packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    (other,) = [path for path in (folder / ".tupli/packs").glob("*.pack") if path != largest]
    flip(other, 8 + 20)
    report = who.repair()
    assert report.is_whole
    assert report.restored == ()
    assert objects_in(folder) == before


def test_a_dry_run_tells_and_changes_nothing(folder: Path):
    flip(the_pack(folder), 8 + 20)
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    report = opened(folder).repair(dry_run=True)
    assert report.dry_run
    assert report.restored
    assert report.lost == ()
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_a_remote_that_cannot_be_asked_is_told_and_others_are_asked(folder: Path):
    who = opened(folder)
    who.add_remote("gone", folder.parent / "nowhere")
    flip(the_pack(folder), 8 + 20)
    report = who.repair()
    assert report.is_whole
    assert any("gone" in line for line in report.unreachable)
    with pytest.raises(NotFoundError):
        who.repair(remotes=["unknown"])


def test_a_remote_that_is_damaged_too_gives_what_it_has(folder: Path):
    who = opened(folder)
    before = objects_in(folder)
    hub = folder.parent / "drive"
    record(who, who.list_benchmarks()[0].id, 2)
    who.publish("walk", episodes=True)
    who.push()
    for path in (hub / ".tupli/packs").glob("*.pack"):
        if path.name == the_pack(folder).name:
            flip(path, 8 + 20)
    flip(the_pack(folder), -1)
    report = who.repair()
    assert report.is_whole  # the directory alone was damaged: nothing is to be fetched
    assert before.keys() <= objects_in(folder).keys()


def test_links_and_strangers_are_not_followed_and_not_moved(folder: Path):
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    some = opened(folder).list_artifacts()[0].id
    loose(folder, some).unlink()
    loose(folder, some).symlink_to(outside / "precious")
    (folder / ".tupli/packs/notes.txt").write_text("x")
    report = repair_folder(folder)
    assert report.is_whole
    assert (outside / "precious").read_text() == "mine"
    assert not loose(folder, some).is_symlink()
    assert (folder / ".tupli/packs/notes.txt").exists()
    assert [one.code for one in report.findings if one.severity == "warning"] == ["stranger"]


def test_folders_that_are_missing_are_made(folder: Path):
    shutil.rmtree(folder / ".tupli/staging")
    for path in (folder / ".tupli/objects").iterdir():
        if not any(path.iterdir()):
            path.rmdir()
    report = repair_folder(folder)
    assert report.is_whole
    assert any("folders" in what for what in report.rebuilt)
    assert len(list((folder / ".tupli/objects").iterdir())) == 256


# ---- whatever stops it


class _World:
    """Ada's repository on a disk in memory, damaged in many ways, and the drive."""

    def __init__(self) -> None:
        self.disk = MemoryFileSystem()
        self.root = Path("/lab/ada")
        Repository.init("/lab/drive", bare=True, fs=self.disk).close()
        ada = Repository.init(self.root, fs=self.disk)
        ada.add_remote("origin", "/lab/drive")
        walk = benchmark(ada)
        record(ada, walk, 2)
        ada.publish("walk", episodes=True)
        ada.publish(artifact(ada))
        ada.close()
        record(ada, walk, 1)
        ada.publish("walk", episodes=True)
        ada.push()
        self.objects = self.objects_on(self.disk)
        self.damaged: dict[Path, bytes] = {}
        files = RepositoryFiles(self.root / ".tupli", self.disk)
        header = ada.list_benchmarks()[0]
        some = [files.packs / name for name in files.list_folder(files.packs)]
        some += [files.objects / header.id[:2] / header.id[2:]]
        refs = files.root / "refs/global/benchmark/walk"
        some += [refs / files.list_folder(refs)[0]]
        for path in some:
            data = files.read(path)
            at = len(data) // 3
            self._put(path, data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :])
        ada._store._close.detach()

    def _put(self, path: Path, data: bytes) -> None:
        self.disk.remove(path)
        descriptor = self.disk.create(path, mode=0o444)
        self.disk.write(descriptor, data)
        self.disk.close(descriptor)
        self.damaged[path] = data

    def objects_on(self, disk: FileSystem) -> dict[ObjectId, bytes]:
        survey = Survey(RepositoryFiles(self.root / ".tupli", disk), Choice(everything=True))
        survey.run()
        ids = [ObjectId(raw.hex()) for raw in survey.present]
        return {oid: encoded for oid, _, encoded in survey.read_encoded(ids)}

    def kept_on(self, disk: FileSystem) -> list[bytes]:
        """The bytes of all files in the places of damaged ones, and of those set aside."""
        files = RepositoryFiles(self.root / ".tupli", disk)
        found, folders = [], [files.root / "damaged"]
        while folders:
            folder = folders.pop()
            for name in files.list_folder(folder):
                status = files.status(folder / name)
                if status is not None and status.is_folder:
                    folders.append(folder / name)
                else:
                    found.append(files.read(folder / name))
        return found + [files.read(path) for path in self.damaged if files.status(path)]


@pytest.fixture(scope="module")
def world() -> _World:
    return _World()


def stop_everywhere(
    world: _World, fault: Callable[[], BaseException], skip: Container[int] = ()
) -> None:
    before = world.objects_on(world.disk)
    assert before.keys() < world.objects.keys()
    for attempt in each_step(fault, inner=world.disk.copy, torn=0.5, skip=skip):
        with attempt:
            repair_folder(world.root, fs=attempt.fs)
        disk = attempt.fs.inner
        now = world.objects_on(disk)
        assert now.items() >= before.items(), attempt.step
        kept = world.kept_on(disk)
        assert all(data in kept for data in world.damaged.values()), attempt.step
        assert repair_folder(world.root, fs=disk).is_whole, attempt.step
        assert world.objects_on(disk) == world.objects, attempt.step
        assert fsck_folder(world.root, "data", fs=disk).is_clean


class _But:
    """All steps but one in so many."""

    def __init__(self, stride: int, first: int) -> None:
        self._stride, self._first = stride, first

    def __contains__(self, step: object) -> bool:
        return isinstance(step, int) and step % self._stride != self._first


# a generator that is closed on a dead disk has nobody to tell
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("fault", "first"), [(Killed, 2), (full_disk, 5)])
def test_a_repair_that_stops_loses_nothing_and_the_next_completes_it(
    world: _World, fault: Callable[[], BaseException], first: int
):
    stop_everywhere(world, fault, _But(9, first))


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fault", [Killed, full_disk, broken_disk])
def test_a_repair_that_stops_anywhere_loses_nothing_and_the_next_completes_it(
    world: _World, fault: Callable[[], BaseException]
):
    stop_everywhere(world, fault)


def test_a_pack_of_which_nothing_is_left_is_fetched_by_its_name(tmp_path: Path):
    with person(tmp_path / "lab") as lab:
        ids = record(lab, benchmark(lab), 3)  # nobody has published them: no name leads to them
    shutil.copytree(tmp_path / "lab", tmp_path / "copy")
    shutil.rmtree(tmp_path / "lab" / ".tupli" / "trash")
    (pack,) = (tmp_path / "lab" / ".tupli" / "packs").glob("*.pack")
    before = pack.read_bytes()
    overwrite(pack, b"")
    with Repository(tmp_path / "lab") as lab:
        assert not lab.fsck("data").is_clean
        report = lab.repair(remotes=[str(tmp_path / "copy")])
        assert not report.lost
        assert {header.id for header in lab.list_episodes()} == set(ids)
        assert lab.fsck("deep").is_clean
    assert pack.read_bytes() == before


def test_what_was_taken_back_and_pruned_is_not_lost_where_the_taking_back_was_damaged(
    tmp_path: Path,
):
    hub = drive(tmp_path / "drive")
    with person(tmp_path / "ada", hub) as ada:
        walk = benchmark(ada)
        record(ada, walk, 3)
        ada.publish("walk", episodes=True)
        ada.push()
        ada.unpublish("walk", episodes=[min(published(ada))])
        ada.push(prune=True)
        (release,) = {item.release for item in ada.log("walk") if item.is_head}
    shutil.copytree(hub, tmp_path / "copy")
    overwrite(hub / ".tupli" / "objects" / release[:2] / release[2:], b"")
    with opened(hub) as there:
        assert not there.repair(remotes=[str(tmp_path / "copy")]).lost
        assert there.fsck("data").is_clean
