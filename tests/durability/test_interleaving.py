"""Several verbs at once, one primitive at a time: nothing is lost, in whatever order they come."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.durability.world import DRIVE, LAB, Fact, World, look, new_world, walk_of
from tests.faults import ForgetfulFileSystem, Schedule, at_once
from tests.repository.people import record
from tupli_repo.errors import TupliError
from tupli_repo.odb.files import FileSystem
from tupli_repo.repository import Repository

Verb = Callable[[Repository], set[Fact]]
"""Does something with a repository; returns what then holds of the place it says."""


def recording(who: Repository) -> set[Fact]:
    return {("episode", oid) for oid in record(who, walk_of(who), 2, why="meanwhile")}


def publishing(who: Repository) -> set[Fact]:
    new = record(who, walk_of(who), 2, why="published meanwhile")
    who.publish("walk", episodes=new)
    return {("published", "walk", oid) for oid in new}


def sealing(who: Repository) -> set[Fact]:
    found = recording(who)
    who.close()
    return found | recording(who)


def pushing(who: Repository) -> set[Fact]:
    held = {("published", "walk", one.id) for one in who.episodes_of("walk")}
    who.push()
    return held


def pulling(who: Repository) -> set[Fact]:
    who.pull()
    return set()


GAMES: dict[str, list[tuple[str, Verb, str]]] = {
    # who, does what, and where it is found afterwards
    "push-push-record": [
        ("ada", pushing, "drive"),
        ("bob", pushing, "drive"),
        ("ada", recording, "ada"),
    ],
    "publish-publish": [("ada", publishing, "ada"), ("ada", publishing, "ada")],
    "publish-push": [("ada", publishing, "ada"), ("ada", pushing, "drive")],
    "pull-push": [("ada", pulling, "ada"), ("bob", pushing, "drive")],
    "pull-publish": [("ada", pulling, "ada"), ("ada", publishing, "ada")],
    "seal-seal-pull": [
        ("ada", sealing, "ada"),
        ("ada", sealing, "ada"),
        ("ada", pulling, "ada"),
    ],
}


def play(
    game: str,
    schedule: Schedule,
    *,
    through: Callable[[FileSystem], FileSystem] = lambda fs: fs,
) -> World:
    """Let the verbs of a game run at once; all that each promised is there."""
    world = new_world()
    prepared = world.open("bob")
    publishing(prepared)
    prepared.close()
    world.leave()

    def actor(name: str, verb: Verb) -> Callable[[FileSystem], set[Fact]]:
        def run(fs: FileSystem) -> set[Fact]:
            who = world.keep(Repository(LAB / name, fs=through(fs)))
            facts = verb(who)
            who.close()
            return facts

        return run

    results = at_once(schedule, world.disk, *(actor(name, verb) for name, verb, _ in GAMES[game]))
    world.leave()
    before = {(one.where, one.fact) for one in world.in_force()}
    found = {where: look(world.disk, LAB / where) for where in ("ada", "bob", "drive")}
    for (_, verb, where), facts in zip(GAMES[game], results, strict=True):
        if isinstance(facts, BaseException):
            raise facts
        assert facts <= found[where], f"{verb.__name__}: {facts - found[where]}"
    for where, fact in before:
        assert fact in found[where], f"{where} lost {fact}"
    return world


SWITCHES = st.sampled_from([0.02, 0.1, 0.5])


@pytest.mark.parametrize("game", GAMES)
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32), switch=SWITCHES)
def test_verbs_that_run_at_once_lose_nothing(game: str, seed: int, switch: float) -> None:
    play(game, Schedule(seed=seed, switch=switch))


@pytest.mark.torture
@pytest.mark.parametrize("game", GAMES)
@settings(max_examples=300)
@given(seed=st.integers(0, 2**32), switch=SWITCHES)
def test_verbs_that_run_at_once_in_any_order_lose_nothing(
    game: str, seed: int, switch: float
) -> None:
    play(game, Schedule(seed=seed, switch=switch))


def test_two_pushes_at_once_are_united_by_whoever_comes_next() -> None:
    for seed in range(2):
        world = play("push-push-record", Schedule(seed=seed, switch=0.3))
        eve = world.keep(Repository.clone(DRIVE, LAB / "eve", fs=world.disk))
        held = {one.id for one in eve.episodes_of("walk")}
        for name in ("ada", "bob"):
            assert {one.id for one in world.open(name).episodes_of("walk")} <= held
        world.leave()


@pytest.mark.parametrize("times", [1, 5])
def test_old_listings_of_a_drive_cost_nothing(times: int) -> None:
    """What one does not see yet, one does not take for gone."""
    for game in ("push-push-record", "pull-publish"):
        with suppress(TupliError):  # it may be told to try again
            play(
                game,
                Schedule(seed=times, switch=0.2),
                through=lambda fs: ForgetfulFileSystem(times, inner=fs),
            )
