"""What is reachable, and what is left after cleaning: generated graphs, by the store alone."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import HastyFileSystem, MemoryFileSystem
from tests.odb.samples import blob, episode, id_of, new_files, record, write_pack
from tupli_repo.odb import trash
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.maintenance.ages import Ages
from tupli_repo.odb.maintenance.gc import collect
from tupli_repo.odb.maintenance.reach import LISTED, Reach, Roots
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.store import ObjectStore

NOW = timedelta(0)
ABSENT = id_of(blob(999))


class Graph(NamedTuple):
    """Objects, where each lies (0: loose, else in that pack), and what is special of them."""

    objects: list[Object]
    places: list[int]
    named: frozenset[ObjectId]
    hidden: frozenset[ObjectId]
    only_named: bool
    is_gone: bool = False  # what is linked and not here was taken back

    def roots(self) -> Roots:
        gone = raw(frozenset([ABSENT] if self.is_gone else []))
        return Roots(raw(self.named), raw(self.hidden), only_named=self.only_named, gone=gone)

    def is_lacking(self) -> bool:
        """Whether it cannot be told what nothing leads to."""
        return self.only_named and not self.is_gone and ABSENT in self.reachable()

    def reachable(self) -> set[ObjectId]:
        """The same, as simply as can be."""
        by_id = {id_of(obj): obj for obj in self.objects}
        kinds = (Kind.TOMBSTONE,) if self.only_named else LISTED
        left = [oid for oid, obj in by_id.items() if obj.kind in kinds and oid not in self.hidden]
        left += self.named
        found = set[ObjectId]()
        while left:
            oid = left.pop()
            if oid not in found:
                found.add(oid)
                left += by_id[oid].links if oid in by_id else ()
        return found


def raw(ids: frozenset[ObjectId]) -> frozenset[bytes]:
    return frozenset(map(bytes.fromhex, ids))


NOTHING: frozenset[ObjectId] = frozenset()


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    objects: list[Object] = []
    for n in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(Kind))
        below = [id_of(obj) for obj in objects] + [ABSENT]
        links = () if kind is Kind.BLOB else draw(st.lists(st.sampled_from(below), max_size=4))
        objects.append(Object(kind=kind, links=tuple(links), body=b"%d" % n * 50))
    ids = st.sampled_from([id_of(obj) for obj in objects])
    hideable = [id_of(obj) for obj in objects if obj.kind is not Kind.TOMBSTONE]
    hidden = st.frozensets(st.sampled_from(hideable), max_size=4) if hideable else st.just(NOTHING)
    return Graph(
        objects,
        [draw(st.integers(0, 3)) for _ in objects],
        draw(st.frozensets(ids, max_size=3)),
        draw(hidden),
        draw(st.booleans()),
        draw(st.booleans()),
    )


def new_lab(disk: MemoryFileSystem) -> RepositoryFiles:
    disk.make_folders("/lab")
    files = RepositoryFiles(Path("/lab/.tupli"), disk)
    files.create_folders()
    return files


def written(graph: Graph) -> RepositoryFiles:
    files = new_lab(MemoryFileSystem())
    store = ObjectStore(files)
    for obj, place in zip(graph.objects, graph.places, strict=True):
        if place == 0:
            store.write(obj)
    for pack in range(1, 4):
        some = [o for o, place in zip(graph.objects, graph.places, strict=True) if place == pack]
        if some:
            write_pack(files, some)
    return files


def found(graph: Graph, store: ObjectStore) -> Roots:
    store.refresh()
    return graph.roots()


@settings(max_examples=25)
@given(graphs())
def test_exactly_what_is_reachable_is_marked_and_stays(graph: Graph):
    files = written(graph)
    store = ObjectStore(files)
    reach = Reach(store, lambda: found(graph, store))
    reach.look()
    expected = graph.reachable()
    assert reach.marked == raw(frozenset(expected))
    here = {id_of(obj) for obj in graph.objects}
    assert reach.unread == raw(frozenset(expected - here))

    report = collect(files, store, lambda: found(graph, store), grace=NOW)
    present = set(store.ids())
    assert bool(report.lacking) is graph.is_lacking()
    if graph.is_lacking():
        assert present == here
        return
    assert expected & here <= present
    loose = {id_of(o) for o, place in zip(graph.objects, graph.places, strict=True) if not place}
    assert (present - expected).isdisjoint(loose | graph.hidden)
    everything = {id_of(obj): obj for obj in graph.objects}
    assert dict(store.read_many(everything)) == everything  # the trash has the rest


@settings(max_examples=20)
@given(graphs(), graphs())
def test_what_is_reachable_again_comes_back_and_the_rest_is_gone_in_the_end(
    graph: Graph, other: Graph
):
    files = written(graph)
    disk = files.fs
    assert isinstance(disk, MemoryFileSystem)
    store = ObjectStore(files)
    here = {id_of(obj) for obj in graph.objects}
    collect(files, store, lambda: found(graph, store), grace=NOW)
    later = graph._replace(hidden=frozenset(), named=frozenset(list(here)[: len(other.objects)]))
    collect(files, store, lambda: found(later, store), grace=NOW)
    expected = later.reachable() & here
    store.refresh()
    assert expected <= set(store.ids())
    for _ in range(3):
        disk.now_ns += 15 * 24 * 3600 * 10**9
        collect(files, store, lambda: found(later, store), grace=NOW)
    if later.is_lacking():  # nothing more went, and nothing for good
        assert {oid for oid, _ in store.read_many(here)} == here
        return
    assert set(store.ids()) == expected
    assert trash.runs(files) == []


def test_what_arrives_between_two_looks_is_followed(tmp_path: Path):
    files = new_files(tmp_path, HastyFileSystem())
    store = ObjectStore(files)
    data = blob(1)
    late = record(1, id_of(data), kind=Kind.RELEASE)
    reach = Reach(store, lambda: found(graph, store))
    graph = Graph([], [], frozenset([id_of(late)]), frozenset(), True)
    reach.look()
    assert reach.unread == raw(frozenset([id_of(late)]))
    write_pack(files, [late])
    reach.look()
    assert reach.unread == raw(frozenset([id_of(data)]))
    store.write(data)
    reach.look()
    assert reach.unread == set()
    assert reach.marked == raw(frozenset([id_of(late), id_of(data)]))


def test_an_age_is_told_by_the_drives_clock_and_never_below_zero():
    disk = MemoryFileSystem()
    disk.make_folders("/lab/.tupli/staging")
    files = RepositoryFiles(Path("/lab/.tupli"), disk)
    disk.overwrite("/lab/x", b"x")
    status = disk.status(Path("/lab/x"))
    disk.now_ns += 3600 * 10**9
    assert timedelta(minutes=59) < Ages(files).of(status) < timedelta(minutes=61)
    disk.now_ns -= 7200 * 10**9
    assert Ages(files).of(status) == NOW
    assert disk.files("/lab/.tupli") == {}


@pytest.mark.parametrize("is_loose", [True, False])
def test_what_is_written_after_the_first_look_is_not_touched(tmp_path: Path, is_loose: bool):
    """A run has no say on what it has not marked because it was not there."""
    files = new_files(tmp_path, HastyFileSystem())
    store, other = ObjectStore(files), ObjectStore(files)
    looks = 0

    def find() -> Roots:
        nonlocal looks
        store.refresh()
        looks += 1
        if looks == 1:
            if is_loose:
                other.write(blob(7))
            else:
                write_pack(files, episode(7))
        return Roots(frozenset(), only_named=True)

    collect(files, store, find, grace=NOW)
    store.refresh()
    assert id_of(blob(7)) in set(store.ids())


def test_the_look_right_before_the_trash_is_emptied_counts():
    disk = MemoryFileSystem()
    files = new_lab(disk)
    store = ObjectStore(files)
    raw_id = bytes.fromhex(store.write(blob(7)))
    looks = 0

    def find(*, last: int = 99) -> Roots:
        nonlocal looks
        store.refresh()
        looks += 1
        return Roots(frozenset([raw_id] if looks >= last else []), only_named=True)

    collect(files, store, find, grace=NOW)
    assert id_of(blob(7)) not in set(store.ids())
    disk.now_ns += 15 * 24 * 3600 * 10**9
    looks = 0
    report = collect(files, store, lambda: find(last=3), grace=NOW)
    assert (report.rescued, report.trash_removed) == (1, 0)
    assert id_of(blob(7)) in set(store.ids())


class CountingDisk(MemoryFileSystem):
    """Counts how often each file in the trash is opened."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.n_opened = Counter[Path]()

    def open_read(self, path: Path) -> int:
        if "trash" in path.parts and path.name != "stamp":
            self.n_opened[path] += 1
        return super().open_read(path)


def test_what_lies_in_the_trash_is_read_once_a_run_and_once_more_in_the_next():
    disk = CountingDisk()
    files = new_lab(disk)
    store = ObjectStore(files)
    for n in range(3):
        write_pack(files, [x for k in range(4) for x in episode(10 * n + k)])
    loose = record(99, kind=Kind.ARTIFACT)
    store.write(loose)
    hidden = {id_of(x) for n in range(3) for k in range(4) for x in episode(10 * n + k)}
    roots = Roots(frozenset(), raw(frozenset({*hidden, id_of(loose)})))
    gone = raw(frozenset([ABSENT]))

    def find() -> Roots:  # and something is missing, so that each file is asked for it, too
        store.refresh()
        return roots._replace(named=gone)

    assert collect(files, store, find, grace=NOW).files_trashed == 4
    disk.n_opened.clear()
    assert collect(files, store, find, grace=NOW).trash_removed == 0
    assert sorted(disk.n_opened.values()) == [1] * 4
    disk.now_ns += 15 * 24 * 3600 * 10**9
    disk.n_opened.clear()
    report = collect(files, store, find, grace=NOW)
    assert sorted(disk.n_opened.values()) == [1] * 4
    assert report.trash_removed == 2
    assert report.bytes_freed > 0
    assert trash.runs(files) == []


def test_what_is_damaged_in_the_trash_stays_there_as_it_might_be_needed():
    disk = MemoryFileSystem()
    files = new_lab(disk)
    store = ObjectStore(files)
    write_pack(files, episode(1))

    def find() -> Roots:
        store.refresh()
        return Roots(frozenset(), only_named=True)

    collect(files, store, find, grace=NOW)
    (run,) = trash.runs(files)
    (path,) = run.files
    disk.overwrite(path, files.read(path)[:-1])
    disk.now_ns += 15 * 24 * 3600 * 10**9
    report = collect(files, store, find, grace=NOW)
    assert (report.trash_removed, report.bytes_freed) == (0, 0)
    assert [one.files for one in trash.runs(files)] == [(path,)]
