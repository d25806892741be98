"""A scenario, the power lost at its moments, and what is then wrong."""

from collections import Counter
from dataclasses import dataclass, field

from tests.durability.scenarios import Scenario
from tests.durability.world import World, assert_sound, assert_usable
from tests.faults import CrashState, MemoryFileSystem, PowerLoss
from tupli_repo.errors import TupliError


@dataclass(slots=True)
class Losses:
    """What came of a scenario.

    Attributes:
        n_changes: How many changes to the disk the scenario makes.
        n_states: How many states were looked at, no two alike.
        n_used: In how many of them the verb was completed and others used.
        violations: What was wrong, and how often.
        example: How the first one came about.
    """

    n_changes: int = 0
    n_states: int = 0
    n_used: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    example: str = ""


def lose_power(
    scenario: Scenario,
    limit: int,
    *,
    seed: int = 0,
    disk: MemoryFileSystem | None = None,
    use_each: int = 10,
    stop_at_first: bool = False,
) -> Losses:
    """Run a scenario, lose the power at its moments, and look at what is left.

    Args:
        scenario: What is done.
        limit: How many states to look at.
        seed: Which ones.
        disk: Where; as the scenario begins where None. A mutant's, perhaps.
        use_each: Each so-many-eth state, and the last, is used further; 0: none.
        stop_at_first: Whether one violation is enough.
    """
    disk = disk or scenario.start().disk.copy()
    power = PowerLoss(disk, only=scenario.only)
    world = World(disk, now=power.mark, start=scenario.start())
    try:
        scenario.run(world)
    finally:
        world.leave()
        disk.log = None
    found = Losses(n_changes=power.position)
    for state in power.states(limit, seed=seed):
        found.n_states += 1
        is_used = bool(use_each) and found.n_states % use_each == 1
        found.n_used += is_used
        try:
            _look_at(state, world, scenario, is_used=is_used)
        except (AssertionError, TupliError) as err:
            kind = type(err).__name__
            found.violations[f"{kind}: {_short(str(err))}"] += 1
            found.example = found.example or f"{kind}: {err}\n{state.story}"
            if stop_at_first:
                break
    return found


def _look_at(state: CrashState, world: World, scenario: Scenario, *, is_used: bool) -> None:
    assert_sound(state.disk, world.in_force(state.position), new=scenario.new)
    if not is_used and not scenario.mends:
        return
    again = World(state.disk, start=scenario.start())
    try:
        scenario.run(again)  # the verb that was cut off, once more
    finally:
        again.leave()
    if is_used:
        assert_usable(state.disk)
    assert_sound(state.disk, again.in_force(), new=scenario.new)


def _short(text: str) -> str:
    return " ".join(word for word in text.split()[:6] if "/" not in word)
