"""Where half of a name's history has arrived: one goes on from what is whole."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults import Call, FailingFileSystem, Killed
from tests.repository.people import (
    benchmark,
    drive,
    ids_in,
    opened,
    person,
    published,
    record,
)
from tupli_repo.repository import Repository


class Lab(NamedTuple):
    """Ada, who took an episode back before it ever left; Bob, who has what was there before."""

    ada: Path
    bob: Path
    hub: Path
    before: set[str]
    after: set[str]
    taken_back: str


class BetweenRecords(FailingFileSystem):
    """Dies before the n-th record appears in a folder."""

    def __init__(self, folder: Path, n: int) -> None:
        super().__init__(0, Killed())
        self._refs, self._n = folder / ".tupli" / "refs", n

    def before(self, call: Call) -> None:
        if call.name in ("rename", "link") and call.path.is_relative_to(self._refs):
            self._n -= 1
            if self._n == 0:
                self.fail_at(1)
        super().before(call)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    hub = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", hub)
    walk = benchmark(ada)
    record(ada, walk, 3)
    ada.publish("walk", episodes=True)
    ada.push()
    before = published(ada)
    Repository.clone(hub, tmp_path / "bob").close()
    kept, secret = record(ada, walk, 2)
    ada.publish("walk", episodes=[kept, secret])
    ada.unpublish("walk", episodes=[secret])
    after = published(ada)
    assert after == before | {kept}
    ada.close()
    return Lab(tmp_path / "ada", tmp_path / "bob", hub, before, after, secret)


def dying(folder: Path, fs: FailingFileSystem, act: Callable[[Repository], object]) -> None:
    """Open a repository as a process that dies on the way."""
    who = opened(folder, fs)
    with suppress(Killed):
        act(who)
    assert fs.failed is not None
    who._store._close.detach()
    fs.release()


def add_one(who: Repository) -> str:
    """Record one more episode and publish it."""
    (new,) = record(who, who.list_benchmarks()[0].id)
    who.publish("walk", episodes=[new])
    return new


def end_well(lab: Lab, new: str) -> None:
    """Let everybody sync; all have what is published, and what was taken back never left."""
    for folder in (lab.ada, lab.bob, lab.ada, lab.bob):
        with opened(folder) as who:
            assert who.sync()[-1].is_clean
    for folder in (lab.ada, lab.bob):
        assert published(opened(folder)) == lab.after | {new}
    with opened(lab.bob) as bob:
        assert lab.taken_back not in {header.id for header in bob.list_episodes()}


def test_where_a_push_has_died_between_two_records_the_others_go_on(lab: Lab) -> None:
    dying(lab.ada, BetweenRecords(lab.hub, 2), lambda ada: ada.push())
    with opened(lab.bob) as bob:
        assert bob.pull().incomplete == ("global/benchmark/walk",)
        assert published(bob) == lab.before
        new = add_one(bob)
        assert bob.push().is_clean
    with opened(lab.hub) as hub:
        assert published(hub) == lab.before | {new}
    end_well(lab, new)


def test_where_ones_own_pull_has_died_between_two_records_one_goes_on(lab: Lab) -> None:
    with opened(lab.ada) as ada:
        ada.push()
    dying(lab.bob, BetweenRecords(lab.bob, 2), lambda bob: bob.pull())
    with opened(lab.bob) as bob:
        assert published(bob) == lab.before
        new = add_one(bob)
        assert published(bob) == lab.before | {new}
    end_well(lab, new)


def test_what_has_arrived_in_part_can_be_taken_back(lab: Lab) -> None:
    with opened(lab.ada) as ada:
        ada.push()
    dying(lab.bob, BetweenRecords(lab.bob, 2), lambda bob: bob.pull())
    old = min(lab.before)
    with opened(lab.bob) as bob:
        made = bob.unpublish("walk", episodes=[old])
        assert len(made.releases) == 2, "on what is whole, and on what is not"
        assert published(bob) == lab.before - {old}
    for folder in (lab.ada, lab.bob, lab.ada):
        with opened(folder) as who:
            who.sync()
    for folder in (lab.ada, lab.bob):
        assert published(opened(folder)) == lab.after - {old}


def test_a_log_tells_which_revision_is_the_one_to_go_on_from(lab: Lab) -> None:
    with opened(lab.ada) as ada:
        ada.push()
    dying(lab.bob, BetweenRecords(lab.bob, 2), lambda bob: bob.pull())
    with opened(lab.bob) as bob:
        told = {item.generation: (item.is_head, item.pending) for item in bob.log("walk")}
    assert told == {1: (True, False), 2: (False, True)}


def test_what_lacks_only_what_was_taken_back_and_pruned_is_gone_on_from(tmp_path: Path) -> None:
    hub = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", hub)
    walk = benchmark(ada)
    kept, secret = record(ada, walk, 2)
    ada.publish("walk", episodes=True)
    ada.push()
    bob = Repository.clone(hub, tmp_path / "bob")
    new = add_one(bob)
    ada.unpublish("walk", episodes=[secret])
    ada.push(prune=True)
    bob.close()
    dying(tmp_path / "bob", BetweenRecords(hub, 2), lambda bob: bob.push())  # before the union
    with Repository.clone(hub, tmp_path / "cyd") as cyd:
        assert published(cyd) == {kept, new}
    with opened(hub) as drives:
        assert secret not in ids_in(hub)
        assert published(drives) == {kept}, "as before the push that died"
