"""What is done to the repositories of a `World`, verb by verb: the rows of the tables of faults.

A scenario is a function that takes a world, uses `World.open` and the verbs, and notes what it was
promised. It may be run again on what a fault has left, and then completes. `only` is where the
power fails; a new verb is one more function with `@scenario`.
"""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

import pytest

from tests.durability.beginnings import AT_ONCE, LONG, damaged, outdated, scattered, untidy
from tests.durability.world import DRIVE, LAB, Base, Fact, World, base, look, walk_of
from tests.repository.people import record
from tests.test_storage import episode, query
from tupli_repo.errors import NotFoundError, RepositoryExistsError
from tupli_repo.odb.maintenance import compact
from tupli_repo.odb.maintenance.compact import merge_small
from tupli_repo.odb.objects import ObjectId
from tupli_repo.repository import Repository
from tupli_repo.repository.checking import repair_folder
from tupli_repo.schema import ArtifactMetadata


class Scenario(NamedTuple):
    """One row.

    Attributes:
        name: What pytest calls it.
        run: Does it.
        only: Below which path the power fails.
        new: The repositories it makes.
        start: Gives the disk at the beginning.
        mends: Whether what a fault leaves may be damaged until it is run again.
    """

    name: str
    run: Callable[[World], None]
    only: str
    new: tuple[str, ...] = ()
    start: Callable[[], Base] = base
    mends: bool = False

    def world(self) -> World:
        """Return the disk at the beginning, and what was promised of it."""
        start = self.start()
        return World(start.disk.copy(), start=start)


SCENARIOS: list[Scenario] = []


def scenario(
    *,
    only: str,
    new: tuple[str, ...] = (),
    start: Callable[[], Base] = base,
    mends: bool = False,
) -> Callable[[Callable[[World], None]], Any]:
    """Make a function a row of every table."""

    def add(run: Callable[[World], None]) -> Callable[[World], None]:
        below = str(LAB / only) if only else "/"
        SCENARIOS.append(Scenario(run.__name__, run, below, new, start, mends))
        return run

    return add


@scenario(only="new", new=("new",))
def init(world: World) -> None:
    with suppress(RepositoryExistsError):
        world.keep(Repository.init(LAB / "new", fs=world.fs))
    world.acked("new", ("there",))
    who = world.open("new")
    if not who.remotes():
        who.add_remote("origin", DRIVE)
    world.acked("new", ("remote", "origin", str(DRIVE)))


@scenario(only="ada")
def recording(world: World) -> None:
    ada = world.open("ada")
    walk = walk_of(ada)
    for n in range(3):
        one = ada.record_episode(episode(walk, metadata={"n": n}))
        world.acked("ada", ("episode", one.id))
    with ada.batch():
        late = [ada.record_episode(episode(walk, metadata={"n": n})).id for n in range(2)]
        ada.flush()
        world.acked("ada", *(("episode", oid) for oid in late))


@scenario(only="ada")
def batch(world: World) -> None:
    ada = world.open("ada")
    walk = walk_of(ada)
    for n in range(2):
        new = record(ada, walk, 3, batch=n)
        world.acked("ada", *(("episode", oid) for oid in new))
    with ada.batch():
        new = record(ada, walk, 2, batch="published")
        ada.publish("walk", episodes=new)
    world.acked("ada", *(("episode", oid) for oid in new), *_published("walk", new))


@scenario(only="ada")
def sealing(world: World) -> None:
    ada = world.open("ada")
    walk = walk_of(ada)
    ada._store._writer._target_bytes = 3000
    for n in range(5):
        new = record(ada, walk, 2, seal=n)
        world.acked("ada", *(("episode", oid) for oid in new))
    ada.close()
    new = record(ada, walk, 1, seal="again")
    world.acked("ada", ("episode", new[0]))
    ada.close()


@scenario(only="ada")
def storing(world: World) -> None:
    ada = world.open("ada")
    for words in ({}, {"description": "windy"}, {"description": "windy"}):
        made = ada.store_benchmark(query("stored", digest=f"s{len(words)}", **words))
        world.acked("ada", ("benchmark", made.id))
    for content in (b"1,2,3\n" * 50, b"4,5,6\n", b"4,5,6\n"):
        item = ada.store_artifact(content, ArtifactMetadata(name="series"))
        world.acked("ada", ("artifact", item.id))


@scenario(only="ada")
def publishing(world: World) -> None:
    ada = world.open("ada")
    new = record(ada, walk_of(ada), 3, why="publishing")
    ada.publish("walk", episodes=new)
    world.acked("ada", *_published("walk", new), ("revision", _head(ada)))
    back = new[:1]
    world.unsure("ada", *_published("walk", back))
    ada.unpublish("walk", episodes=back)
    world.acked("ada", *(("not", fact) for fact in _published("walk", back)))
    ada.publish("walk", as_name="other")
    ada.publish("other", episodes=new[1:])
    world.acked("ada", *_published("other", new[1:]))
    yanked = _head(ada, "other")
    world.unsure("ada", *_published("other", new[1:]))
    ada.yank(yanked, why="wrong")
    world.acked("ada", ("yanked", yanked))
    ada.publish("other", episodes=new[1:])
    world.acked("ada", *_published("other", new[1:]))


@scenario(only="ada")
def pinning(world: World) -> None:
    ada = world.open("ada")
    new = record(ada, walk_of(ada), 3, why="pinning")
    for n, some in enumerate((new[:1], new, new[1:])):
        # A run that was cut off has pinned others under that name: these are its earlier revision.
        was = [one.fact for one in world.promises if one.fact[:2] == ("published", f"pin-{n}")]
        world.unsure("ada", *was)
        ada.pin(f"pin-{n}", some)
        world.acked("ada", *_published(f"pin-{n}", some))
    ada.publish("pin-1")
    world.acked("ada", *_published("pin-1", new))


@scenario(only="ada")
def removing(world: World) -> None:
    ada = world.open("ada")
    for n in range(3):
        made = ada.store_artifact(b"draft", ArtifactMetadata(name=f"draft-{n}")).id
        world.acked("ada", ("artifact", made))
        mine = [*base().more, made]
        facts: list[Fact] = [*(("episode", oid) for oid in base().more), ("artifact", made)]
        world.unsure("ada", *facts)
        gone = {oid for _, oid in ada.removed()}  # already, where a fault came in between
        ada.remove([oid for oid in mine if oid not in gone], why=f"wrong {n}")
        world.acked("ada", *(("not", fact) for fact in facts))
        world.acked("ada", *(("hidden", fact[1]) for fact in facts))
        world.unsure("ada", *(("not", fact) for fact in facts))
        world.unsure("ada", *(("hidden", fact[1]) for fact in facts))
        ada.restore(mine)
        world.acked("ada", *facts)


@scenario(only="drive")
def pushing(world: World) -> None:
    ada = world.open("ada")
    ada.push()
    world.acked("drive", *_shared(world, "ada"))
    new = record(ada, walk_of(ada), 2, why="pushing")
    back = base().more[:1]
    ada.publish("walk", episodes=new)
    world.unsure("drive", *_published("walk", back))
    world.unsure("ada", *_published("walk", back))
    with suppress(NotFoundError):  # it was, before a fault
        ada.unpublish("walk", episodes=back)
    ada.push()
    world.acked("drive", *_shared(world, "ada"))
    world.acked("drive", *(("not", fact) for fact in _published("walk", back)))


@scenario(only="ada")
def pulling(world: World) -> None:
    ada, bob = world.open("ada"), world.open("bob")
    ada.pull()
    world.acked("ada", *_shared(world, "drive"))
    new = record(bob, walk_of(bob), 2, why="pulling")
    bob.publish("walk", episodes=new)
    bob.push()
    mine = record(ada, walk_of(ada), 1, why="pulling")
    ada.publish("walk", episodes=mine)
    ada.pull()
    world.acked("ada", *_published("walk", [*new, *mine]), *_shared(world, "drive"))


@scenario(only="eve", new=("eve",))
def cloning(world: World) -> None:
    world.keep(Repository.clone(DRIVE, LAB / "eve", fs=world.fs))
    world.acked("eve", ("remote", "origin", str(DRIVE)), *_shared(world, "drive"))


@scenario(only="")
def everywhere(world: World) -> None:
    """The power fails in the whole house, the drive included."""
    ada = world.open("ada")
    new = record(ada, walk_of(ada), 1, why="everywhere")
    world.acked("ada", ("episode", new[0]))
    ada.publish("walk", episodes=new)
    world.acked("ada", *_published("walk", new))
    ada.sync()
    world.acked("ada", *_shared(world, "drive"))
    world.acked("drive", *_shared(world, "ada"))
    ada.close()


@scenario(only="ada", start=untidy)
def cleaning(world: World) -> None:
    ada = world.open("ada")
    ada.gc(grace=AT_ONCE)
    (lone,) = world.start.more
    world.acked("ada", ("benchmark", lone))
    new = record(ada, walk_of(ada), 2, why="cleaning")
    world.acked("ada", *(("episode", oid) for oid in new))
    back = new[:1]
    world.unsure("ada", *(("episode", oid) for oid in back))
    ada.remove(back)
    ada.gc(grace=AT_ONCE)  # what was removed is in the trash now, for good in two weeks
    ada._shelf.tombstones.reveal([ObjectId(oid) for oid in back], user="ada")
    world.wait(LONG)
    ada.gc(grace=AT_ONCE)
    world.acked("ada", *(("episode", oid) for oid in back))
    ada.close()


@scenario(only="drive", start=outdated)
def cleaning_a_drive(world: World) -> None:
    drive, ada = world.open("drive"), world.open("ada")
    drive.gc(grace=AT_ONCE)
    ada.publish("walk", episodes=world.start.more)
    world.acked("ada", *_published("walk", world.start.more))
    ada.push()
    world.acked("drive", *_shared(world, "ada"))
    world.wait(LONG)
    drive.gc(grace=AT_ONCE)
    drive.close()
    ada.close()


@scenario(only="ada", start=scattered)
def compacting(world: World) -> None:
    ada = world.open("ada")
    for n in range(3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compact, "cleaning", lambda _: nullcontext(True))  # a lock needs a disk
            merge_small(ada._files, at_least=2)
        new = record(ada, walk_of(ada), 2, compacting=n)
        world.acked("ada", *(("episode", oid) for oid in new))
        ada.close()


@scenario(only="ada", start=damaged, mends=True)
def repairing(world: World) -> None:
    report = repair_folder(LAB / "ada", fs=world.fs)
    if not report.is_whole and world.fs is not world.disk:
        return  # it has said so, and the next run completes it
    assert report.is_whole, f"not whole: {report.lost} {report.findings}"
    kept = world.disk.files(LAB / "ada" / ".tupli" / "damaged").values()
    assert all(one in kept for one in world.start.spoilt), "a damaged file is gone"
    if world.fs is world.disk and not set(world.start.mended) <= look(world.disk, LAB / "ada"):
        # An earlier run set a record aside while the drive could not be read, and said so.
        world.open("ada").pull()
    world.acked("ada", *world.start.mended)


def _head(who: Repository, name: str = "walk") -> str:
    found = next(one for one in who.names() if one.name == name)
    return found.current[-1].revision


def _published(name: str, ids: Any) -> list[Fact]:
    return [("published", name, oid) for oid in ids]


def _shared(world: World, where: str) -> list[Fact]:
    """What of a repository another one has once they have met: what is published, pins apart."""
    found = look(world.disk, LAB / where)
    return [fact for fact in found if fact[0] == "published" and fact[1] != "train"]
