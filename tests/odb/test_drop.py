"""Removing objects behind a transport: exactly these go, and all else can be read at any moment."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import HastyFileSystem, Killed, RecordingFileSystem, each_step, full_disk
from tests.odb.samples import (
    blob,
    by_id,
    encoded,
    id_of,
    loose_path,
    names,
    new_files,
    new_store,
    overwrite,
    record,
    staged,
    write_pack,
)
from tests.odb.sides import held, keep, noise, release, rollout, side, tree
from tests.odb.test_sync_faults import copied_tree
from tupli_repo.errors import CorruptObjectError, InvalidInputError, StorageIOError
from tupli_repo.odb.block import Directory
from tupli_repo.odb.drop import DropReport, drop
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.journal import JournalWriter
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.pack import PackFile
from tupli_repo.odb.store import ObjectStore

NOTHING = DropReport(objects=0, packs_removed=(), packs_written=(), bytes_freed=0, journals=())


class Layout:
    """A repository file by file: packs, and what is loose."""

    def __init__(self, packs: list[list[Object]], loose: list[Object]) -> None:
        self.packs, self.loose = packs, loose
        self.objects = by_id([obj for some in (*packs, loose) for obj in some])

    def make(self, root: Path) -> Path:
        files = new_files(root, HastyFileSystem(), only_for=self.objects.values())
        for some in self.packs:
            write_pack(files, some)
        store = ObjectStore(files)
        for obj in self.loose:
            store.write(obj)
        store.close()
        return root


def drop_from(
    root: Path, some: Iterable[Object | ObjectId], fs: FileSystem | None = None
) -> DropReport:
    remote = side(root, fs)
    try:
        return drop(remote, [obj if isinstance(obj, str) else id_of(obj) for obj in some])
    finally:
        remote.transport.close()


def directories(root: Path) -> dict[str, Directory]:
    files = RepositoryFiles(root / ".tupli")
    return {path.name: PackFile(files, path).directory for path in names(root, ".pack")}


def assert_gone(root: Path, some: Iterable[Object]) -> None:
    """No object there is one of these, or holds their bytes."""
    found = held(root)
    for obj in some:
        assert id_of(obj) not in found
        assert all(obj.body not in other.body for other in found.values())


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A release of six episodes in one pack, and all else loose."""
    store = new_store(tmp_path / "r")
    keep(store, release(range(6), size=9_000))
    store.close()
    return tmp_path / "r"


def test_an_episode_goes_with_the_blobs_that_are_its_own(made: Path) -> None:
    _, data, episode = rollout(5, 9_000)
    before, (old,) = held(made), names(made, ".pack")
    size = sum(len(data) for data in tree(made).values())
    report = drop_from(made, [episode])
    (new,) = names(made, ".pack")
    assert report.objects == 2
    assert report.packs_removed == (old.name,)
    assert report.packs_written == (new.name,)
    assert report.bytes_freed == size - sum(len(data) for data in tree(made).values())
    assert report.bytes_freed > 8_000
    assert report.journals == ()
    assert_gone(made, [data, episode])
    assert before.keys() - held(made).keys() == {id_of(data), id_of(episode)}
    assert before.items() >= held(made).items()
    assert not staged(made)
    assert drop_from(made, [episode]) == NOTHING
    assert names(made, ".pack") == [new]


def test_a_pack_of_which_nothing_remains_is_removed(tmp_path: Path) -> None:
    data, episode = noise(1, 500), record(1, id_of(noise(1, 500)))
    root = Layout([[data, episode], [blob(2), record(2, id_of(blob(2)))]], []).make(tmp_path / "r")
    report = drop_from(root, [episode])
    assert (report.objects, len(report.packs_removed), report.packs_written) == (2, 1, ())
    assert held(root) == by_id([blob(2), record(2, id_of(blob(2)))])


def test_packs_that_hold_nothing_of_it_are_not_touched(tmp_path: Path) -> None:
    pairs = [[blob(n, 900), record(n, id_of(blob(n, 900)))] for n in range(4)]
    root = Layout(pairs, [blob(77)]).make(tmp_path / "r")
    before = {path.name: path.stat().st_mtime_ns for path in names(root, ".pack")}
    drop_from(root, [pairs[2][1]])
    after = {path.name: path.stat().st_mtime_ns for path in names(root, ".pack")}
    assert len(after) == 3
    assert after.items() < before.items()


def test_whole_blocks_stay_byte_for_byte(tmp_path: Path) -> None:
    big = [noise(n, 200_000) for n in range(5)]
    records = [record(n, id_of(obj)) for n, obj in enumerate(big)]
    root = Layout([[*big, *records]], []).make(tmp_path / "r")
    (old,) = names(root, ".pack")
    whole, places = old.read_bytes(), directories(root)[old.name].blocks
    drop_from(root, [records[2]])
    (new,) = names(root, ".pack")
    kept = [whole[places[n].offset : places[n].end] for n in (0, 1, 3, 4)]
    assert all(part in new.read_bytes() for part in kept)
    assert whole[places[2].offset : places[2].end] not in new.read_bytes()


LINKING = [Kind.EPISODE, Kind.BENCHMARK, Kind.ARTIFACT, Kind.PROVENANCE]


@pytest.mark.parametrize("kind", [*LINKING, Kind.RELEASE])
@pytest.mark.parametrize("place", ["same pack", "other pack", "loose", "journal"])
def test_a_blob_that_something_else_links_stays_wherever_that_lies(
    tmp_path: Path, kind: Kind, place: str
) -> None:
    shared = noise(1, 900)
    gone, other = record(1, id_of(shared)), record(2, id_of(shared), kind=kind)
    packs = [[shared, gone, *([other] if place == "same pack" else [])]]
    packs += [[other]] if place == "other pack" else []
    root = Layout(packs, [other] if place == "loose" else []).make(tmp_path / "r")
    if place == "journal":
        writer = JournalWriter(RepositoryFiles(root / ".tupli"))
        writer.append([encoded(other)])
        writer.close()
    assert drop_from(root, [gone]).objects == 1
    assert held(root) == by_id([shared, other])


def test_a_blob_goes_when_the_last_that_links_it_goes(tmp_path: Path) -> None:
    shared = noise(1, 900)
    some = [record(n, id_of(shared)) for n in range(3)]
    root = Layout([[shared, *some]], []).make(tmp_path / "r")
    assert drop_from(root, some[:2]).objects == 2
    assert id_of(shared) in held(root)
    assert drop_from(root, some).objects == 2
    assert held(root) == {}


@pytest.mark.parametrize("kind", LINKING)
def test_what_something_else_needs_is_not_removed(tmp_path: Path, kind: Kind) -> None:
    needed = record(1, kind=Kind.BENCHMARK)
    root = Layout([[record(2, id_of(needed), kind=kind)]], [needed]).make(tmp_path / "r")
    before = tree(root)
    with pytest.raises(InvalidInputError, match=f"is needed by the {kind} '") as caught:
        drop_from(root, [needed])
    assert caught.value.hint == "nothing was removed"
    assert tree(root) == before


def test_sets_and_releases_that_name_what_is_gone_stay(made: Path) -> None:
    before = held(made)
    drop_from(made, [rollout(n, 9_000)[2] for n in range(6)])
    kinds = {obj.kind for obj in held(made).values()}
    assert Kind.EPISODE not in kinds
    assert {Kind.EPISODES, Kind.RELEASE, Kind.BENCHMARK} <= kinds
    assert before.items() >= held(made).items()


def test_what_is_not_there_is_no_error(made: Path) -> None:
    before = tree(made)
    assert drop_from(made, []) == NOTHING
    assert drop_from(made, [record(999)]) == NOTHING
    assert tree(made) == before


def test_copies_in_several_files_all_go(tmp_path: Path) -> None:
    data = noise(1, 900)
    gone, stays = record(1, id_of(data)), record(2)
    root = Layout([[data, gone, stays], [gone], [data, blob(3)]], [data, gone]).make(tmp_path / "r")
    report = drop_from(root, [gone])
    assert report.objects == 2
    assert len(report.packs_removed) == 3
    assert held(root) == by_id([stays, blob(3)])


def test_what_a_journal_holds_stays_and_is_told(tmp_path: Path) -> None:
    """Its writer may live; in the pack it stays too, or it could be read half."""
    data, other = noise(1, 900), noise(2, 900)
    here, there = record(1, id_of(data)), record(2, id_of(other))
    root = Layout([[data, here, other, there]], []).make(tmp_path / "r")
    writer = JournalWriter(RepositoryFiles(root / ".tupli"))
    writer.append([encoded(here)])
    writer.close()
    (journal,) = names(root, ".journal")
    before = journal.read_bytes()
    report = drop_from(root, [here, there])
    assert report.journals == (journal.name,)
    assert report.objects == 2
    assert journal.read_bytes() == before
    assert held(root) == by_id([data, here])


def test_a_blob_of_which_a_journal_has_a_copy_is_told(tmp_path: Path) -> None:
    data = noise(1, 900)
    root = Layout([[data, record(1, id_of(data))]], []).make(tmp_path / "r")
    writer = JournalWriter(RepositoryFiles(root / ".tupli"))
    writer.append([encoded(data)])
    writer.close()
    (journal,) = names(root, ".journal")
    assert drop_from(root, [record(1, id_of(data))]).journals == (journal.name,)
    assert held(root) == by_id([data])


@pytest.mark.parametrize("part", ["directory", "records", "loose"])
def test_damage_anywhere_is_told_before_anything_is_removed(tmp_path: Path, part: str) -> None:
    """What a damaged file links is not known."""
    data, other = noise(1, 900), blob(2, 900)
    gone, stays = record(1, id_of(data)), record(2, id_of(other))
    loose = record(3, kind=Kind.BENCHMARK)
    root = Layout([[data, gone], [other, stays]], [loose]).make(tmp_path / "r")
    (name,) = [name for name, inside in directories(root).items() if id_of(stays) in inside]
    path = loose_path(root, id_of(loose)) if part == "loose" else root / ".tupli/packs" / name
    whole = bytearray(path.read_bytes())
    inside = directories(root)[name].blocks[-1]
    at = {"directory": len(whole) - 70, "records": inside.offset + 30, "loose": len(whole) // 2}
    whole[at[part]] ^= 0x41
    overwrite(path, bytes(whole))
    before = tree(root)
    with pytest.raises(CorruptObjectError) as caught:
        drop_from(root, [gone])
    assert caught.value.path == path
    assert tree(root) == before


def test_a_pack_whose_remains_are_damaged_stays(tmp_path: Path) -> None:
    big = [noise(n, 200_000) for n in range(3)]
    records = [record(n, id_of(obj)) for n, obj in enumerate(big)]
    root = Layout([[*big, *records]], []).make(tmp_path / "r")
    (pack,) = names(root, ".pack")
    whole = bytearray(pack.read_bytes())
    whole[300_000] ^= 1
    overwrite(pack, bytes(whole))
    with pytest.raises(CorruptObjectError) as caught:
        drop_from(root, [records[2]])
    assert caught.value.path == pack
    assert pack.read_bytes() == whole


def test_remains_that_an_earlier_run_wrote_badly_are_no_reason_to_remove_the_pack(
    tmp_path: Path,
) -> None:
    data, other = noise(1, 900), noise(2, 900)
    gone, stays = record(1, id_of(data)), record(2, id_of(other))
    layout = Layout([[data, other, gone, stays]], [])
    done = layout.make(tmp_path / "done")
    drop_from(done, [gone])
    (remains,) = names(done, ".pack")
    root = layout.make(tmp_path / "r")
    (pack,) = names(root, ".pack")
    whole = bytearray(remains.read_bytes())
    whole[200] ^= 1
    (root / ".tupli/packs" / remains.name).write_bytes(whole)
    with pytest.raises(CorruptObjectError) as caught:
        drop_from(root, [gone])
    assert caught.value.path == root / ".tupli/packs" / remains.name
    assert pack.exists()


# Two packs with blobs of each other's records, one that has only records, copies, and loose ones.
A, B, C, D, SHARED = (noise(n, 700) for n in range(5))
ONE = record(1, id_of(A), id_of(SHARED))
TWO = record(2, id_of(B))
THREE = record(3, id_of(C), id_of(D))
STAYS = record(4, id_of(SHARED), id_of(blob(8)))
KNOT = Layout(
    [[B, ONE, STAYS, C], [A, TWO, blob(8)], [THREE], [D, blob(9)]],
    [D, SHARED, record(5, kind=Kind.BENCHMARK), TWO],
)
GOES = [ONE, TWO, THREE, A, B, C, D]
KEPT = {oid: obj for oid, obj in KNOT.objects.items() if obj not in GOES}


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return KNOT.make(tmp_path_factory.mktemp("knot"))


def assert_kept_and_finish(root: Path) -> None:
    found = held(root)
    assert KEPT.items() <= found.items() <= KNOT.objects.items()
    drop_from(root, [ONE, TWO, THREE], HastyFileSystem())
    assert held(root) == KEPT
    assert_gone(root, GOES)


def test_death_at_any_step_leaves_all_else_readable_and_the_next_run_completes(
    tmp_path: Path, knot: Path
) -> None:
    for attempt in each_step(Killed, torn=0.6):
        root = copied_tree(knot, tmp_path / str(attempt.step))
        with attempt:
            drop_from(root, [ONE, TWO, THREE], attempt.fs)
        if attempt.error is None:
            assert held(root) == KEPT
        assert_kept_and_finish(root)
    assert attempt.step > 30


@pytest.mark.parametrize("fault", [full_disk, KeyboardInterrupt])
def test_a_fault_at_any_step_leaves_no_scratch(
    tmp_path: Path, knot: Path, fault: Callable[[], BaseException]
) -> None:
    for attempt in each_step(fault, torn=0.5):
        root = copied_tree(knot, tmp_path / str(attempt.step))
        with attempt:
            drop_from(root, [ONE, TWO, THREE], attempt.fs)
        if isinstance(attempt.fs.fault, OSError) and attempt.error is not None:
            assert isinstance(attempt.error, StorageIOError)
        assert not staged(root)
        assert not attempt.fs._paths
        assert_kept_and_finish(root)


def test_what_remains_is_durable_before_a_pack_is_removed(tmp_path: Path, knot: Path) -> None:
    root = copied_tree(knot, tmp_path / "r")
    fs = RecordingFileSystem()
    drop_from(root, [ONE, TWO, THREE], fs)
    steps = [(name, path.suffix) for name, path in fs.changes() if "packs" in path.parts]
    renamed = False
    for n, (name, suffix) in enumerate(steps):
        if (name, suffix) == ("rename", ".pack"):
            assert steps[n + 1] == ("fsync_folder", "")
            renamed = True
        assert name != "remove" or renamed
    assert renamed


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_layout_loses_exactly_what_was_asked_for(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Against a model: sets of objects."""
    blobs = [blob(n, 50) for n in range(4)]
    records = [
        record(n, *map(id_of, data.draw(st.lists(st.sampled_from(blobs), max_size=3, unique=True))))
        for n in range(5)
    ]
    everything = [*blobs, *records]
    subsets = st.lists(st.sampled_from(everything), max_size=6, unique_by=id_of)
    packs = [some for some in data.draw(st.lists(subsets, max_size=4)) if some]
    asked = data.draw(st.lists(st.sampled_from(records), max_size=4, unique_by=id_of))
    placed = by_id([obj for some in packs for obj in some])
    layout = Layout(packs, [obj for obj in everything if id_of(obj) not in placed])
    root = layout.make(tmp_path_factory.mktemp("any"))
    gone = {id_of(obj) for obj in asked}
    stay = {oid: obj for oid, obj in layout.objects.items() if oid not in gone}
    linked = {link for obj in stay.values() for link in obj.links}
    gone |= {link for obj in asked for link in obj.links if link not in linked}
    report = drop_from(root, asked, HastyFileSystem())
    assert report.objects == len(gone)
    assert held(root) == {oid: obj for oid, obj in stay.items() if oid not in gone}
    assert not os.listdir(root / ".tupli" / "staging")
