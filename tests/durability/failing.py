"""A scenario, a fault at each of its primitives, and what is then wrong."""

from collections import Counter
from dataclasses import dataclass, field

from tests.durability.scenarios import Scenario
from tests.durability.world import World, assert_sound, assert_usable
from tests.faults import (
    EVERY_FAULT,
    READ_FAULTS,
    FailingFileSystem,
    Killed,
    MemoryFileSystem,
    each_step,
)
from tupli_repo.errors import TupliError

LASTING = ("ENOSPC", "EDQUOT", "EROFS")
"""What does not pass by itself."""
_TIDYING = ("remove", "remove_folder", "close")


@dataclass(slots=True)
class Failures:
    """What came of a fault at each step.

    Attributes:
        n_steps: At how many primitives it happened.
        n_borne: How often the verb got over it.
        n_used: How often verbs were used afterwards, beside completing the one that failed.
        violations: What was wrong, and how often.
        example: What happened at the first.
    """

    n_steps: int = 0
    n_borne: int = 0
    n_used: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    example: str = ""


class _Stride:
    """The steps between every n-th."""

    def __init__(self, stride: int, first: int) -> None:
        self._stride, self._first = stride, first

    def __contains__(self, step: object) -> bool:
        assert isinstance(step, int)
        return step < self._first or (step - self._first) % self._stride != 0


def fail_at_each(
    scenario: Scenario,
    fault: str,
    *,
    on_read: bool = False,
    stride: int = 1,
    first: int = 1,
    torn: float = 0.5,
    use_each: int = 10,
) -> Failures:
    """Run a scenario once per step with a fault there, and look at what is left.

    Args:
        scenario: What is done.
        fault: Its name in `EVERY_FAULT`, or in `READ_FAULTS`.
        on_read: Whether the primitives that read are the steps, and not those that change.
        stride: Each so-many-eth step.
        first: The first one.
        torn: The part of a write that fails which reaches the file.
        use_each: After each so-many-eth step other verbs are used too; 0: never.
    """
    found = Failures()
    makes = READ_FAULTS if on_read else EVERY_FAULT
    for attempt in each_step(
        makes[fault],
        torn=torn,
        lasting=fault in LASTING,
        skip=_Stride(stride, first),
        inner=scenario.start().disk.copy,
        counted="reads" if on_read else "changes",
    ):
        error: BaseException | None = None
        world = World(_disk_of(attempt.fs), attempt.fs, start=scenario.start())
        try:
            scenario.run(world)
        except BaseException as err:  # noqa: BLE001 - it is looked at below
            error = err
        failed = attempt.fs.failed
        if failed is None:
            assert error is None, repr(error)
            world.leave()
            return found
        found.n_steps += 1
        found.n_borne += error is None
        is_used = bool(use_each) and found.n_steps % use_each == 1
        found.n_used += is_used
        try:
            _check_error(attempt.fs.fault, error)
            _leave(world, attempt.fs)
            _check_disk(world, scenario, is_used=is_used)
        except Exception as err:  # noqa: BLE001 - a bare OSError is what is looked for
            kind = type(err).__name__
            found.violations[f"{kind}: {_short(str(err))}"] += 1
            found.example = found.example or (
                f"{kind}: {err}\n{fault} at step {attempt.step}, {failed.name} of '{failed.path}';"
                f" the verb said {error!r}"
            )
    raise AssertionError("the scenario does not end")


def _disk_of(fs: FailingFileSystem) -> MemoryFileSystem:
    assert isinstance(fs.inner, MemoryFileSystem)
    return fs.inner


def _check_error(fault: BaseException, error: BaseException | None) -> None:
    if not isinstance(fault, OSError):
        assert error is fault, f"{fault!r} came out as {error!r}"
        return
    if error is None:
        return
    assert isinstance(error, TupliError), f"a bare {error!r}"
    assert error.message, "no message"
    assert len(error.message.splitlines()) == 1, f"not one line: {error.message!r}"
    assert not error.message.endswith("."), f"a full stop: {error.message!r}"


def _leave(world: World, fs: FailingFileSystem) -> None:
    """End the process: at once where it was killed, else in good order."""
    if isinstance(fs.fault, Killed):
        fs.release()
        world.leave()
        return
    fs.heal()
    for who in world.opened:
        who.close()
    world.leave()
    disk = _disk_of(fs)
    assert not disk.open_paths(), f"left open: {disk.open_paths()}"
    assert fs.failed is not None
    if fs.failed.name not in _TIDYING:
        before = world.start.disk.files()
        staged = [path for path in disk.files() if "staging" in path and path not in before]
        assert not staged, f"left in staging: {staged}"


def _check_disk(world: World, scenario: Scenario, *, is_used: bool) -> None:
    assert_sound(world.disk, world.in_force(), new=scenario.new)
    again = World(world.disk, start=world.start)
    again.promises = world.in_force()
    try:
        scenario.run(again)
    finally:
        again.leave()
    if is_used:
        assert_usable(world.disk)
    assert_sound(world.disk, again.in_force(), new=scenario.new)


def _short(text: str) -> str:
    return " ".join(word for word in text.split()[:8] if "/" not in word)
