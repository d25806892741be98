"""gc that dies, meets a full disk or loses power at every step: nothing is lost, the next one ends.

The repository has all that gc handles: live and removed episodes, small packs and one that is half
dead, a dead writer's journal, garbage, names, an old run in the trash, and something in the trash
that is reachable again.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import cache

import pytest

from tests.faults import (
    Killed,
    MemoryFileSystem,
    PowerLoss,
    broken_disk,
    each_step,
    full_disk,
)
from tests.odb.samples import abandon
from tests.repository.people import artifact, benchmark, published, record
from tupli_repo.odb.files import FileSystem
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository import Repository

HOUR_NS = 3600 * 10**9
State = dict[str, object]


def wait(disk: MemoryFileSystem, hours: int) -> None:
    disk.now_ns += hours * HOUR_NS


def opened(disk: FileSystem) -> Repository:
    return Repository("/lab", fs=disk)


@cache
def messy() -> MemoryFileSystem:
    """A repository in which there is something to do for every part of gc."""
    disk = MemoryFileSystem()
    disk.make_folders("/lab")
    with Repository.init("/lab", fs=disk) as who:
        walk = benchmark(who)
        wind = artifact(who)
        lone = benchmark(who, "lone", digest="lone")
        who.remove([lone])
        who._store.write(Object(kind=Kind.BLOB, body=b"old garbage"))
        who.close()
        wait(disk, 30)
        who.gc()  # the first run of the trash
        who._shelf.tombstones.reveal([ObjectId(lone)], user="ada")
        bad = record(who, walk, 3, junk="x" * 500)
        record(who, walk, 1)
        who.close()
        who.remove(bad)
        for _ in range(2):
            record(who, walk, 2)
            who.close()
        with who.batch():
            who.publish("walk", episodes=True)
        who.pin("frozen", [one.id for one in who.list_episodes()][:1])
        who.remove([*[one.id for one in who.list_episodes()][:1], wind])
        dead = opened(disk)
        record(dead, walk, 2)
        abandon(dead._store)
        who._store.write(Object(kind=Kind.BLOB, body=b"garbage"))
        disk.make_folders(f"/lab/.tupli/staging/{'a' * 32}")
        disk.overwrite(f"/lab/.tupli/staging/{'a' * 32}/{'b' * 32}", b"half a file")
        wait(disk, 24 * 15)
    return disk


def look(disk: FileSystem) -> State:
    """Everything that a user can see, read back."""
    who = opened(disk)
    found: State = {}
    for header in who.list_episodes():
        found[f"episode {header.id}"] = who.load_episode(header.id).model_dump()
    for name in who.names():
        ids = sorted(published(who, f"{name.group}/{name.name}"))
        found[f"name {name.name}"] = ids
        assert len(list(who.read_episodes(ids))) == len(ids)
    for one in who.list_benchmarks():
        if one.metadata.name != "lone":  # it is in the trash until gc has brought it back
            found[f"benchmark {one.id}"] = who.load_benchmark(one.id).serialized
    found["hidden"] = len(who._shelf.tombstones.hidden())
    abandon(who._store)
    return found


def check_next(disk: MemoryFileSystem, before: State) -> None:
    """The next gc ends, and what it leaves is what there was, and tidy."""
    with opened(disk) as who:
        who.gc()
        assert look(disk) == before
        assert "lone" in {one.metadata.name for one in who.list_benchmarks()}
        wait(disk, 48)
        who.gc()
        assert look(disk) == before
        kept = ObjectStore(who._files)
        kept.refresh()
        assert len(kept.pack_names()) <= 2
        assert kept.journals() == []
        for _ in range(2):
            wait(disk, 24 * 15)
            who.gc()
        assert look(disk) == before
        assert disk.files("/lab/.tupli/trash") == {}
        assert all(b"garbage" not in data for data in disk.files("/lab/.tupli").values())


class AllBut:
    """All numbers but those that a stride leads to."""

    def __init__(self, stride: int) -> None:
        self._stride = stride

    def __contains__(self, n: object) -> bool:
        return isinstance(n, int) and n % self._stride != 0


@pytest.mark.parametrize(
    ("fault", "stride"),
    [
        pytest.param(Killed, 9, id="death at some steps"),
        pytest.param(full_disk, 25, id="a full disk at some steps"),
        pytest.param(Killed, 1, id="death", marks=pytest.mark.torture),
        pytest.param(full_disk, 1, id="a full disk", marks=pytest.mark.torture),
        pytest.param(broken_disk, 1, id="a broken disk", marks=pytest.mark.torture),
    ],
)
def test_whatever_happens_at_any_step_nothing_is_lost_and_the_next_run_ends(
    fault: Callable[[], BaseException], stride: int
):
    base = messy()
    before, steps = look(base.copy()), 0
    faults = each_step(fault, inner=base.copy, lasting=fault is full_disk, skip=AllBut(stride))
    for attempt in faults:
        who = opened(attempt.fs)
        with attempt:
            who.gc()
        abandon(who._store)
        disk = attempt.fs.inner
        assert isinstance(disk, MemoryFileSystem)
        disk.release()
        assert look(disk) == before, attempt.step
        if attempt.step % (4 * stride) == 0 or attempt.fs.failed is None:
            check_next(disk, before)
        steps += 1
    assert steps * stride > 60


@pytest.mark.parametrize(
    ("grace", "states"),
    [
        pytest.param(24, 12, id="some"),
        pytest.param(24, 600, id="many", marks=pytest.mark.torture),
        pytest.param(0, 600, id="many, without a grace", marks=pytest.mark.torture),
    ],
)
def test_a_power_failure_at_any_moment_loses_nothing(grace: int, states: int):
    base = messy()
    disk = base.copy()
    before = look(disk)
    who = opened(disk)
    power = PowerLoss(disk, only="/lab")
    who.gc(grace=timedelta(hours=grace))
    abandon(who._store)
    count = 0
    for state in power.states(states):
        assert look(state.disk) == before, state
        count += 1
        if count % 20 == 0:
            check_next(state.disk, before)
    assert count == states


def test_the_repository_of_these_tests_gives_gc_everything_to_do():
    base = messy()
    with opened(base.copy()) as who:
        report = who.gc()
    assert report.journals_sealed == 1
    assert report.staging_removed == 1
    assert report.packs_merged >= 3
    assert report.rescued >= 1
    assert report.unreachable > 3
    assert report.bytes_freed > 0
