"""Several verbs at once, one primitive at a time, in an order that can be repeated.

Each actor has a thread and a file system of its own; before each primitive it hands over a baton,
and whoever the `Schedule` names goes on. Nobody runs without it::

    disk = MemoryFileSystem()
    ada, bob = at_once(
        Schedule(seed=7, switch=0.2),
        disk,
        lambda fs: Repository("/lab/ada", fs=fs).push(),
        lambda fs: Repository("/lab/bob", fs=fs).push(),
    )

What an actor raises is given in place of what it returns. An actor must not wait for another one by
other means, a lock for instance: the one that holds it never comes to let it go.
"""

import gc
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from random import Random
from threading import Condition, Thread
from typing import Any

from tests.faults.failing import Call, RecordingFileSystem
from tupli_repo.odb.files import FileSystem

_PATIENCE_S = 600.0


class Schedule:
    """Who goes on at each step.

    Args:
        seed: The same seed makes the same choices.
        switch: How likely it is that another one goes on, 0 to 1.
    """

    def __init__(self, *, seed: int, switch: float = 0.2) -> None:
        self._random = Random(seed)
        self._switch = switch

    def next(self, current: int, ready: list[int]) -> int:
        """Return who goes on, of those that are not done yet."""
        if current in ready and self._random.random() >= self._switch:
            return current
        return self._random.choice(ready)


class _Baton:
    """Held by one actor at a time."""

    def __init__(self, schedule: Schedule, n: int) -> None:
        self._schedule = schedule
        self._ready = list(range(n))
        self._changed = Condition()
        self._holder = schedule.next(-1, self._ready)
        self._is_over = False

    def wait(self, actor: int) -> None:
        """Return once the actor has the baton."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._holder == actor or self._is_over, timeout=_PATIENCE_S
            ):
                self._is_over = True
                self._changed.notify_all()
                raise AssertionError(f"actor {actor} waited for one that does not go on")

    def pass_on(self, actor: int) -> None:
        """Let the next one go on; returns when the actor has it again."""
        with self._changed:
            self._holder = self._schedule.next(actor, self._ready)
            self._changed.notify_all()
        self.wait(actor)

    def leave(self, actor: int) -> None:
        """Be done."""
        with self._changed:
            self._ready.remove(actor)
            if self._ready:
                self._holder = self._schedule.next(-1, self._ready)
            self._changed.notify_all()


class SteppingFileSystem(RecordingFileSystem):
    """Hands over before each primitive.

    Args:
        hand_over: Called first; returns when it is this one's turn.
        inner: The file system that does the work.
    """

    def __init__(self, hand_over: Callable[[], None], *, inner: FileSystem) -> None:
        super().__init__(inner)
        self._hand_over = hand_over

    def before(self, call: Call) -> None:
        super().before(call)
        self._hand_over()


def at_once(
    schedule: Schedule, disk: FileSystem, *actors: Callable[[FileSystem], Any]
) -> list[Any]:
    """Run some actors, each with a file system of its own; returns what they return or raise.

    Args:
        schedule: Who goes on at each step.
        disk: The disk they share.
        actors: Each takes its file system.
    """
    _unlock_cached_properties()
    baton = _Baton(schedule, len(actors))
    results: list[Any] = [None] * len(actors)

    def run(n: int) -> None:
        fs = SteppingFileSystem(lambda: baton.pass_on(n), inner=disk)
        baton.wait(n)
        try:
            results[n] = actors[n](fs)
        except BaseException as err:  # noqa: BLE001 - it is what the caller gets
            results[n] = err
        finally:
            fs._hand_over = lambda: None  # what it left behind may still tidy up
            baton.leave(n)

    threads = [Thread(target=run, args=(n,), daemon=True) for n in range(len(actors))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_S)
        assert not thread.is_alive(), "an actor does not come to an end"
    return results


def _unlock_cached_properties() -> None:
    """Until Python 3.12 one lock guards a cached property of all objects of a class.

    Whoever hands over while computing one would keep the others from theirs for ever.
    """
    for one in gc.get_objects():
        if type(one) is cached_property and hasattr(one, "lock"):
            one.lock = nullcontext()
