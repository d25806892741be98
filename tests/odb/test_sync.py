"""Copying objects between repositories: exactly what is wanted, once, from wherever it lies."""

import errno
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread

import pytest

from tests.faults import Call, HastyFileSystem, RecordingFileSystem
from tests.odb.samples import (
    blob,
    id_of,
    loose_path,
    named_like_its_bytes,
    names,
    new_files,
    record,
    reopen,
    staged,
    write_pack,
)
from tests.odb.sides import (
    BENCHMARK,
    DOCUMENT,
    LAYOUT,
    LOOSE,
    Release,
    held,
    keep,
    keep_loose,
    new_side,
    noise,
    release,
    rollout,
    send,
    side,
    tree,
)
from tupli_repo.errors import InvalidInputError, NotFoundError
from tupli_repo.odb.closure import closure_of
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.journal import seal
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.pack import PackFile
from tupli_repo.odb.sync import Progress, copy
from tupli_repo.odb.transport import DirectoryTransport
from tupli_repo.odb.trash import move_to_trash

PROJECT = Path(__file__).parents[2]


def fill(root: Path, made: Release, *, seal: bool = True) -> None:
    store = reopen(root, HastyFileSystem())
    keep(store, made, seal=seal)
    if seal:
        store.close()
    else:
        store._close.detach()


def test_a_release_arrives_with_all_that_it_needs(a: Path, b: Path) -> None:
    made = release(range(5))
    fill(a, made)
    report = send(side(a), side(b), made.root)
    assert held(b) == made.objects
    assert report.wanted == report.copied == len(made.objects)
    assert report.loose == len(LOOSE) + 2
    assert report.packs == tuple(path.name for path in names(b, ".pack"))
    assert len(report.packs) == 1
    assert all(named_like_its_bytes(path) for path in names(b, ".pack"))
    files = [path for part in ("objects", "packs") for path in (b / ".tupli" / part).rglob("*")]
    assert report.bytes_written == sum(path.stat().st_size for path in files if path.is_file())
    assert not list((b / ".tupli" / "staging").iterdir())


def test_copying_again_moves_nothing_and_changes_nothing(a: Path, b: Path) -> None:
    made = release(range(5))
    fill(a, made)
    send(side(a), side(b), made.root)
    before, fs = tree(b), RecordingFileSystem()
    report = send(side(a), side(b, fs), made.root)
    assert (report.copied, report.packs, report.bytes_written) == (0, (), 0)
    assert fs.changes() == []
    again = copy(side(a), side(b, fs), made.objects)  # also when asked for everything
    assert (again.wanted, again.copied) == (len(made.objects), 0)
    assert fs.changes() == []
    assert tree(b) == before


def test_no_neighbour_from_the_same_pack_comes_along(a: Path, b: Path) -> None:
    store = reopen(a)
    everything = release(range(40), size=5000)
    keep(store, everything)
    some = release(range(0, 40, 3), size=5000)
    keep_loose(store, some)
    store.write(blob(77))
    store.close()
    send(side(a), side(b), some.root)
    assert held(b) == some.objects


def body_reads(fs: RecordingFileSystem, ranges: list[tuple[Path, int, int]]) -> list[Path]:
    """The packs of which a read began before the directory."""
    return [
        path
        for path, _, offset in ranges
        if path.suffix == ".pack" and offset < directory_start(path)
    ]


def directory_start(path: Path) -> int:
    files = RepositoryFiles(path.parent.parent)
    return PackFile(files, path).directory.blocks[-1].end


class RangesFileSystem(RecordingFileSystem):
    """Notes each read with its size and offset."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[Path, int, int]] = []

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.ranges.append((self._paths[descriptor], size, offset))
        return super().read(descriptor, size, offset)


def test_ten_more_for_a_target_that_holds_ten_thousand_are_one_pack_and_no_body_is_read(
    a: Path, b: Path, tmp_path: Path
) -> None:
    old = release(range(10_000))
    store = reopen(a, HastyFileSystem())
    keep(store, old)
    send(side(a, HastyFileSystem()), side(b, HastyFileSystem()), old.root)
    (old_set,) = [oid for oid, obj in old.objects.items() if obj.kind is Kind.EPISODES]
    new = release(range(10_000, 10_010), before=[old_set])
    for n in range(10_000, 10_010):  # each by a process of its own: ten packs in the source
        store.append(rollout(n))
        store.seal()
    keep_loose(store, new)
    store.close()
    held_before = set(names(b, ".pack"))

    fs = RangesFileSystem()
    report = send(side(a), side(b, fs, cache=tmp_path / "cache"), new.root)
    assert report.copied == 10 * 2 + 2
    assert len(report.packs) == 1
    renamed = [path for name, path in fs.changes() if name == "rename"]
    assert len(renamed) == 3  # the pack, the set, the release
    assert len(set(names(b, ".pack")) - held_before) == 1
    read = [item for item in fs.ranges if item[0].suffix == ".pack"]
    assert read
    assert body_reads(fs, read) == []

    fs = RangesFileSystem()  # everything's directory is cached now, also of what was just written
    assert send(side(a), side(b, fs, cache=tmp_path / "cache"), new.root).copied == 0
    assert [item for item in fs.ranges if item[0].suffix == ".pack"] == []
    found = held(b)
    assert found == {**old.objects, **new.objects}


def test_a_cache_that_is_damaged_or_cannot_be_written_costs_time_only(
    a: Path, b: Path, tmp_path: Path
) -> None:
    made = release(range(5))
    fill(a, made)
    cache = tmp_path / "cache"
    send(side(a, cache=cache), side(b, cache=cache), made.root)
    for number, path in enumerate(sorted(cache.iterdir())):
        path.write_bytes(b"" if number else path.read_bytes()[:-1] + b"?")
    assert send(side(a, cache=cache), side(b, cache=cache), made.root).copied == 0
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"")
    source = side(a, cache=blocked / "x")
    assert set(closure_of(source, [made.root]).ids) == set(made.objects)
    assert dict(source.read_many(made.objects)) == made.objects


def test_what_arrived_is_not_sent_again_and_what_is_missing_is(a: Path, b: Path) -> None:
    made = release(range(30), size=3000)
    fill(a, made)
    part = release(range(12), size=3000)
    store = reopen(b)
    keep(store, part)
    store.close()
    report = send(side(a), side(b), made.root)
    assert report.copied == len(made.objects.keys() - part.objects.keys())
    assert held(b) == {**made.objects, **part.objects}


def test_a_journal_is_a_source_like_any_other(a: Path, b: Path) -> None:
    made = release(range(6), size=2000)
    fill(a, made, seal=False)
    assert names(a, ".journal")
    journals = tree(a)
    send(side(a), side(b), made.root)
    assert held(b) == made.objects
    assert tree(a) == journals  # and it stays its writer's


def test_a_journals_torn_end_is_passed_over(a: Path, b: Path) -> None:
    made = release(range(6))
    fill(a, made, seal=False)
    (journal,) = names(a, ".journal")
    with journal.open("ab") as stream:
        stream.write(b"BLK1\0\0")
    send(side(a), side(b), made.root)
    assert held(b) == made.objects


class InterferingFileSystem(HastyFileSystem):
    """Does something once, just before the n-th read of a pack or journal."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self.left, self.act = at, act

    def open_read(self, path: Path) -> int:
        if path.suffix in (".pack", ".journal"):
            self.left -= 1
            if self.left == 0:
                self.act()
        return super().open_read(path)


def compact(root: Path) -> None:
    """Put everything into one new pack, and move the old ones out."""
    files = RepositoryFiles(root / ".tupli", HastyFileSystem())
    for journal in names(root, ".journal"):
        seal(files, journal)
    old = names(root, ".pack")
    found = [obj for path in old for _, obj in PackFile(files, path).read_many(all_of(path))]
    written = write_pack(files, found)
    for path in old:
        if path != written:
            move_to_trash(files, path, reason="superseded")
    files.close()


def all_of(path: Path) -> list[ObjectId]:
    return list(PackFile(RepositoryFiles(path.parent.parent), path).directory.ids())


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("is_sealed", [True, False], ids=["packs", "journals"])
def test_a_source_file_that_vanishes_at_any_moment_is_looked_for_anew(
    tmp_path: Path, stride: int, *, is_sealed: bool
) -> None:
    made = release(range(8), size=3000)
    template = tmp_path / "template"
    store = new_side(template)
    for n in range(8):
        store.append(rollout(n, 3000))
        if is_sealed:
            store.seal()
    keep_loose(store, made)
    store._close.detach()
    for at in range(1, 400, stride):
        a, b = tmp_path / f"a{at}", tmp_path / f"b{at}"
        shutil.copytree(template, a)
        new_files(b, only_for=made.objects.values())
        fs = InterferingFileSystem(at, lambda a=a: compact(a))  # type: ignore[misc]
        send(side(a, fs), side(b, HastyFileSystem()), made.root)
        assert held(b) == made.objects
        if fs.left > 0:
            break
    assert at > 5


@pytest.mark.parametrize("is_own", [False, True], ids=["theirs", "own"])
def test_a_large_pack_is_copied_byte_for_byte_and_small_ones_are_put_together(
    a: Path, b: Path, *, is_own: bool
) -> None:
    large, small = release(range(36), size=600_000), release(range(100, 110), size=600_000)
    store = reopen(a, HastyFileSystem())
    keep(store, large)
    for n in range(100, 110):
        store.append([noise(n, 600_000), *rollout(n, 600_000)])
        store.seal()
    keep_loose(store, small)
    store.close()
    (whole,) = [path for path in names(a, ".pack") if path.stat().st_size > 16 << 20]
    seen: list[Progress] = []
    report = send(side(a), side(b), large.root, small.root, on_progress=seen.append, is_own=is_own)
    assert seen[-1].objects_done == seen[-1].objects
    assert len(seen) > 5 + len(LOOSE)
    assert whole.name in report.packs
    assert len(report.packs) == 2
    assert held(b) == {**large.objects, **small.objects}
    for path in names(b, ".pack"):
        assert path.stat().st_size <= 64 << 20
    # an episode's data lies in its own pack
    files = RepositoryFiles(b / ".tupli")
    for path in names(b, ".pack"):
        directory = PackFile(files, path).directory
        for _, obj in PackFile(files, path).read_many(directory.ids(Kind.EPISODE)):
            assert obj.links[2] in directory


class _Drive(RecordingFileSystem):
    """A drive whose server copies by itself, or cannot, or gets it wrong."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self.server = server

    def copy_range(self, source: int, descriptor: int, size: int) -> None:
        if self.server == "cannot":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        if self.server == "copies":
            data = FileSystem.read(self, source, size, 0)
            FileSystem.write(self, descriptor, data)
            return
        super().copy_range(source, descriptor, size)
        if self.server == "gets it wrong":
            os.pwrite(descriptor, b"wrong", size // 2)


@pytest.mark.parametrize("server", ["copies", "cannot", "gets it wrong"])
def test_a_whole_pack_is_copied_by_the_drive_itself_and_believed_when_it_is_right(
    a: Path, b: Path, server: str
) -> None:
    made = release(range(20), size=1_000_000)
    store = reopen(a, HastyFileSystem())
    keep(store, made)
    store.close()
    fs = _Drive(server)
    report = send(side(a), side(b, fs), made.root, is_own=True)
    assert len(report.packs) == 1
    assert held(b) == made.objects
    written = [call for call in fs.calls if call.name == "write"]
    assert (len(written) == report.loose) is (server == "copies")
    assert not staged(b)


def test_fresh_packs_end_before_64_mib_and_buffers_stay_below_a_hundred(a: Path, b: Path) -> None:
    some = list(range(0, 140, 2))  # every second one: nothing is copied as it is
    store = reopen(a, HastyFileSystem())
    for n in range(140):
        store.append(rollout(n, 1_000_000))
    keep_loose(store, made := release(some, size=1_000_000))
    store.close()
    seen: list[Progress] = []
    source, target = side(a, HastyFileSystem()), side(b, HastyFileSystem())
    closure = closure_of(source, [made.root])
    tracemalloc.start()
    report = copy(source, target, closure.ids, on_progress=seen.append)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20
    sizes = [path.stat().st_size for path in names(b, ".pack")]
    assert len(sizes) == len(report.packs) == 2
    assert max(sizes) <= 64 << 20
    assert len(seen) >= 70
    found = side(b)
    assert set(closure_of(found, [made.root]).ids) == made.objects.keys()
    assert sum(1 for _ in found.read_encoded(made.objects)) == len(made.objects)
    assert not found.contains(id_of(rollout(1, 1_000_000)[1]))


def test_progress_grows_to_the_whole(a: Path, b: Path) -> None:
    made = release(range(30), size=60_000)
    fill(a, made)
    seen: list[Progress] = []
    send(side(a), side(b), made.root, on_progress=seen.append)
    assert len(seen) > len(LOOSE) + 2
    assert seen == sorted(seen)
    last = seen[-1]
    assert (last.objects_done, last.bytes_done) == (last.objects, last.bytes)
    assert last.objects == len(made.objects)
    assert last.bytes >= 30 * 60_000
    assert all(one.objects_done <= one.objects and one.bytes_done <= one.bytes for one in seen)


def test_an_episode_whose_blob_lies_in_another_pack_never_comes_before_it(a: Path, b: Path) -> None:
    files = RepositoryFiles(a / ".tupli")
    store = reopen(a)
    made = release(range(4), size=900)
    for obj in made.objects.values():
        if obj.kind not in (Kind.BLOB, Kind.EPISODE) or obj in LOOSE:
            store.write(obj)
    for obj in made.objects.values():  # one object, one pack
        if obj.kind in (Kind.BLOB, Kind.EPISODE) and obj not in LOOSE:
            write_pack(files, [obj])
    store.close()
    files.close()
    send(side(a), side(b), made.root)
    assert held(b) == made.objects
    (pack,) = names(b, ".pack")
    assert all(link in all_of(pack) for link in (id_of(LAYOUT), id_of(noise(0, 900))))


def test_children_are_durable_before_what_links_them(a: Path, b: Path) -> None:
    made = release(range(3))
    fill(a, made)
    fs = RecordingFileSystem()
    send(side(a), side(b, fs), made.root)
    renamed = [call.path for call in fs.calls if call.name == "rename"]
    order = {path: at for at, path in enumerate(renamed)}

    def at(obj: Object) -> int:
        path = loose_path(b, id_of(obj))
        return order[path] if path in order else order[names(b, ".pack")[0]]

    for obj in made.objects.values():
        for link in obj.links:
            child = made.objects[link]
            assert at(child) < at(obj) or at(child) == at(obj) == order[names(b, ".pack")[0]]
    for path in renamed:  # each is on the disk before the next one begins
        calls = [(c.name, c.path) for c in fs.calls]
        renamed_at = calls.index(("rename", path))
        assert calls[renamed_at + 1] == ("fsync_folder", path.parent)
        assert any(name == "fsync" for name, _ in calls[:renamed_at])


def test_benchmarks_and_documents_that_were_packed_arrive_as_files(a: Path, b: Path) -> None:
    """Readers look for benchmarks among the loose objects only."""
    made = release(range(3))
    files = RepositoryFiles(a / ".tupli")
    write_pack(files, list(made.objects.values()))
    files.close()
    send(side(a), side(b), made.root)
    assert held(b) == made.objects
    for obj in (*LOOSE, BENCHMARK, DOCUMENT):
        assert loose_path(b, id_of(obj)).is_file()


def test_loose_episodes_arrive_in_a_pack(a: Path, b: Path) -> None:
    made = release(range(3))
    store = reopen(a)
    for obj in made.objects.values():
        store.write(obj)
    store.close()
    send(side(a), side(b), made.root)
    assert held(b) == made.objects
    assert all(
        id_of(obj) in all_of(names(b, ".pack")[0])
        for obj in made.objects.values()
        if obj.kind is Kind.EPISODE
    )


def test_a_closure_names_what_is_missing_and_passes_over_what_is_known(a: Path) -> None:
    made = release(range(3))
    gone = id_of(rollout(1)[2])
    store = reopen(a)
    keep(store, Release(made.root, {o: x for o, x in made.objects.items() if o != gone}))
    store.close()
    closure = closure_of(side(a), [made.root])
    assert closure.missing == {gone}
    order = {oid: at for at, oid in enumerate(closure.ids)}
    assert set(order) == made.objects.keys() - {gone, id_of(rollout(1)[1])}
    for oid in order:
        assert all(order[link] < order[oid] for link in made.objects[oid].links if link in order)
    assert closure_of(side(a), [made.root], known={gone}.intersection).missing == frozenset()
    with pytest.raises(NotFoundError, match=gone[:12]):
        copy(side(a), side(a), [gone])


def test_a_member_that_a_known_set_has_lost_is_found_missing(a: Path, b: Path) -> None:
    """A drive was pruned, or a copy by hand is half done: the set alone proves nothing."""
    made = release(range(3))
    fill(a, made)
    send(side(a), side(b), made.root)
    names(b, ".pack")[0].unlink()
    report = send(side(a), side(b), made.root)
    assert report.copied == 3 * 2 + 1
    assert held(b) == made.objects


def test_a_tombstone_stays_where_it_is(a: Path, b: Path) -> None:
    store = reopen(a)
    stone = store.write(record(1, kind=Kind.TOMBSTONE))
    store.close()
    with pytest.raises(InvalidInputError, match="tombstone"):
        copy(side(a), side(b), [stone])
    assert held(b) == {}


def run_all(scripts: Iterable[list[str]]) -> None:
    """Run scripts in processes of their own, at once."""
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", *script],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for script in scripts
    ]
    for process in running:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err


COPYING = """
import sys
from pathlib import Path
from tests.odb.sides import send, side
source, target, *roots = sys.argv[1:]
send(side(Path(source)), side(Path(target)), *roots)
"""


@pytest.mark.parametrize("count", [2, 8])
def test_processes_that_copy_to_one_target_at_once_all_arrive(tmp_path: Path, count: int) -> None:
    target = tmp_path / "target"
    new_side(target).close()
    scripts, expected = [], dict[ObjectId, Object]()
    for number in range(count):
        root = tmp_path / str(number)
        new_files(root)
        made = release([*range(20), *range(100 * number, 100 * number + 20)], size=3000)
        fill(root, made)
        expected |= made.objects
        scripts.append([COPYING, str(root), str(target), made.root])
    run_all(scripts)
    assert held(target) == expected
    assert not staged(target)
    assert not list((target / ".tupli" / "staging").iterdir())


def test_a_source_that_is_written_and_sealed_meanwhile_gives_what_was_asked(
    a: Path, b: Path
) -> None:
    made = release(range(40), size=3000)
    writer = reopen(a, HastyFileSystem())
    keep(writer, made, seal=False)

    def write_on() -> None:
        for n in range(200, 260):
            writer.append(rollout(n, 500))
            writer.seal()

    thread = Thread(target=write_on)
    thread.start()
    send(side(a), side(b), made.root)
    thread.join()
    writer.close()
    assert held(b) == made.objects


def test_a_change_of_the_disk_happens_on_the_target_alone(a: Path, b: Path) -> None:
    made = release(range(3))
    fill(a, made)
    fs = RecordingFileSystem()
    source = side(a, fs)
    copy(source, side(b), closure_of(source, [made.root]).ids)
    changes: list[Call] = [call for call in fs.calls if call.changes]
    assert changes == []
    assert DirectoryTransport(RepositoryFiles(a / ".tupli")).list("packs")


def test_a_whole_pack_comes_after_what_its_episodes_link_elsewhere(a: Path, b: Path) -> None:
    made = release(range(30), size=600_000)
    store, files = reopen(a), RepositoryFiles(a / ".tupli")
    keep_loose(store, made)
    packed = [obj for n in range(30) for obj in rollout(n, 600_000) if obj != LAYOUT]
    whole, other = write_pack(files, packed), write_pack(files, [LAYOUT])
    store.close()
    files.close()
    fs = RecordingFileSystem()
    send(side(a), side(b, fs), made.root)
    renamed = [path.name for name, path in fs.changes() if name == "rename"]
    packs = [name for name in renamed if name.endswith(".pack")]
    assert packs == [other.name, whole.name]
    assert held(b) == made.objects
