"""Death and errors at every primitive of every verb.

After each: nothing acknowledged is lost, no byte is wrong, the error is one of ours with a clear
line, nothing is left open or half-written, and the same verb, run again, completes.
"""

import errno
from contextlib import suppress
from functools import partial

import pytest

from tests.durability.failing import fail_at_each
from tests.durability.scenarios import SCENARIOS, Scenario
from tests.durability.world import DRIVE, LAB, assert_sound, look, new_world
from tests.faults import (
    EVERY_FAULT,
    READ_FAULTS,
    Call,
    FailingFileSystem,
    LyingFileSystem,
    RecordingFileSystem,
    refusal,
)
from tests.faults.lying import Lie
from tupli_repo.cli import run
from tupli_repo.errors import CorruptObjectError, StorageIOError, TupliError
from tupli_repo.odb.files import FileSystem

each_short = pytest.mark.parametrize(
    "scenario", [one for one in SCENARIOS if one.name != "everywhere"], ids=lambda one: one.name
)
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
_FAN_OUT = ("init", "cloning")  # making one of 256 folders is like making another


def stride_of(scenario: Scenario, stride: int) -> int:
    return stride * 16 if scenario.name in _FAN_OUT else stride


@each_short
@pytest.mark.parametrize(("fault", "first"), [("killed", 1), ("ENOSPC", 4)])
def test_a_fault_at_a_step_of_a_verb_costs_nothing_acknowledged(
    scenario: Scenario, fault: str, first: int
) -> None:
    found = fail_at_each(scenario, fault, stride=stride_of(scenario, 61), first=first, use_each=0)
    assert not found.violations, found.example
    assert found.n_steps


@each_short
def test_a_read_that_fails_costs_nothing_acknowledged(scenario: Scenario) -> None:
    found = fail_at_each(
        scenario, "EIO", on_read=True, stride=stride_of(scenario, 499), first=7, use_each=0
    )
    assert not found.violations, found.example


@pytest.mark.torture
@each_scenario
@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_whatever_happens_at_any_step_of_any_verb(scenario: Scenario, fault: str) -> None:
    found = fail_at_each(scenario, fault)
    assert not found.violations, found.example


@pytest.mark.torture
@each_scenario
@pytest.mark.parametrize("fault", READ_FAULTS)
def test_whatever_happens_to_any_read_of_any_verb(scenario: Scenario, fault: str) -> None:
    found = fail_at_each(scenario, fault, on_read=True, stride=stride_of(scenario, 1))
    assert not found.violations, found.example


def test_a_repository_in_memory_leaves_nothing_on_the_real_disk() -> None:
    for scenario in SCENARIOS:
        world = scenario.world()
        scenario.run(world)
        world.leave()
    assert not LAB.exists()


class _StaleRef(RecordingFileSystem):
    """Says once that a record on the drive is stale, as a network drive does; it is there."""

    def __init__(self, inner: FileSystem, number: int) -> None:
        super().__init__(inner)
        self.left = number

    def before(self, call: Call) -> None:
        super().before(call)
        if call.name == "read" and DRIVE in call.path.parents and "refs" in call.path.parts:
            self.left -= 1
            if self.left == 0:
                raise refusal(errno.ESTALE)


def test_a_record_that_is_stale_for_a_moment_is_not_passed_over() -> None:
    pushing = next(one for one in SCENARIOS if one.name == "pushing")
    for number in range(1, 30):
        world = new_world()
        world.fs = fs = _StaleRef(world.disk, number)
        with suppress(StorageIOError):
            pushing.run(world)
        world.leave()
        if fs.left > 0:
            return
        assert_sound(world.disk, world.in_force())


# ---- at the command line

COMMANDS = {
    "list": ["list"],
    "status": ["status"],
    "log": ["log", "walk"],
    "publish": ["publish", "walk"],
    "push": ["push"],
    "pull": ["pull"],
    "remote": ["remote", "add", "other", "/lab/bob"],
    "remove": ["remove", "walk"],
    "clone": ["clone", "/lab/drive", "/lab/eve"],
    "init": ["init", "/lab/new"],
    "config": ["config", "user.name", "Ada"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("fault", "steps"), [("EIO", (1, 9, 31)), ("EACCES", (2, 5, 60))])
def test_a_command_tells_in_a_line_what_the_disk_refused(
    command: str,
    fault: str,
    steps: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for step in steps:
        disk = new_world().disk
        fs = FailingFileSystem(step, EVERY_FAULT[fault](), inner=disk, counted="all", lasting=True)
        for module in ("odb.files", "repository.location"):
            monkeypatch.setattr(f"tupli_repo.{module}.FileSystem", partial(_itself, fs))
        status = run(["-C", "/lab/ada", *COMMANDS[command]])
        told = capsys.readouterr().err
        assert "Traceback" not in told
        assert status in (0, 1, 2, 3, 10, 12), told
        if status:
            lines = told.splitlines()
            errors = [n for n, line in enumerate(lines) if line.startswith("error: ")]
            assert len(errors) == 1, told
            assert all(line.startswith("hint: ") for line in lines[errors[0] + 1 :]), told


def _itself(fs: FailingFileSystem) -> FailingFileSystem:
    return fs


# ---- lies

LIES: list[Lie] = ["lost", "torn", "zeros", "flipped"]


def lied_to(scenario: Scenario, step: int, lie: Lie, *, on_read: bool) -> LyingFileSystem:
    """Run a scenario on a disk that lies once; what is there reads right, or is an error."""
    world = scenario.world()
    world.fs = fs = LyingFileSystem(step, lie, on_read=on_read, inner=world.disk)
    try:
        scenario.run(world)
        for who in world.opened:
            who.close()
    except TupliError:
        pass
    world.leave()
    fs.release()
    if scenario.mends:
        world.fs = world.disk
        scenario.run(world)
    for name in ("ada", "drive", "bob", *scenario.new):
        heard = None
        try:
            look(world.disk, LAB / name)  # hashes what it reads
        except TupliError as err:
            heard = err
        is_clear = isinstance(heard, CorruptObjectError) or name in scenario.new
        assert heard is None or is_clear, repr(heard)
        assert heard is None or not on_read, f"a read that lied has left damage: {heard}"
    return fs


@pytest.mark.parametrize("name", ["sealing", "publishing", "pushing"])
@pytest.mark.parametrize("on_read", [False, True], ids=["write", "read"])
def test_a_disk_that_lies_is_never_believed(name: str, on_read: bool) -> None:
    scenario = next(one for one in SCENARIOS if one.name == name)
    for n, step in enumerate(range(1, 400, 23 if on_read else 4)):
        fs = lied_to(scenario, step, LIES[n % 4], on_read=on_read)
        if fs.lied is None:
            assert n > 1
            return


@pytest.mark.torture
@each_scenario
@pytest.mark.parametrize("on_read", [False, True], ids=["write", "read"])
@pytest.mark.parametrize("lie", LIES)
def test_no_lie_of_a_disk_is_ever_believed(scenario: Scenario, lie: Lie, on_read: bool) -> None:
    step = 1
    while lied_to(scenario, step, lie, on_read=on_read).lied is not None:
        step += 1 if not on_read else 3
