"""Disks that fail, die, tear, delay and lie, for the tests of every verb.

- `failing`: the real disk, or another one, that records, fails, tears and dies at any step.
- `memory`: a disk in memory, quick, copied in a moment, and with a clock of the test's own.
- `powerloss`: what may be left on such a disk when the power fails, at each moment of a history.
- `lying`: disks that say done and lose bytes, read other bytes, are slow, or show old listings.
- `scheduling`: several verbs at once, in an order that the test chooses and that can be repeated.

Death at every step of a verb, on a disk in memory::

    base = MemoryFileSystem()
    Repository.init("/lab/ada", fs=base).close()
    for attempt in each_step(Killed, inner=base.copy):
        who = Repository("/lab/ada", fs=attempt.fs)
        with attempt:
            who.store_benchmark(query())
        again = Repository("/lab/ada", fs=attempt.fs.inner)  # what the next process finds

A power loss at every moment of it::

    disk = MemoryFileSystem()
    who = Repository.init("/lab/ada", fs=disk)
    power = PowerLoss(disk)
    stored = who.store_benchmark(query())
    acknowledged = power.mark()
    for state in power.states(200):
        again = Repository("/lab/ada", fs=state.disk)
        if state.position >= acknowledged:
            assert again.benchmark(stored.id) == stored

`tests/durability` does both for all verbs; a new verb is one more function in its `scenarios`.
"""

from tests.faults.failing import (
    EVERY_FAULT,
    READ_FAULTS,
    Attempt,
    Call,
    FailingFileSystem,
    HastyFileSystem,
    Killed,
    RecordingFileSystem,
    broken_disk,
    each_step,
    full_disk,
    refusal,
)
from tests.faults.lying import DelayingFileSystem, ForgetfulFileSystem, LyingFileSystem
from tests.faults.memory import MemoryFileSystem
from tests.faults.powerloss import CrashState, PowerLoss
from tests.faults.scheduling import Schedule, SteppingFileSystem, at_once

__all__ = [
    "EVERY_FAULT",
    "READ_FAULTS",
    "Attempt",
    "Call",
    "CrashState",
    "DelayingFileSystem",
    "FailingFileSystem",
    "ForgetfulFileSystem",
    "HastyFileSystem",
    "Killed",
    "LyingFileSystem",
    "MemoryFileSystem",
    "PowerLoss",
    "RecordingFileSystem",
    "Schedule",
    "SteppingFileSystem",
    "at_once",
    "broken_disk",
    "each_step",
    "full_disk",
    "refusal",
]
