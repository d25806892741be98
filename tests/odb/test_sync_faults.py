"""Death, a full disk and a broken one at every step of a copy, on either side.

The target reads as before plus whole things, and the next run sends only what is missing.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults import (
    Call,
    HastyFileSystem,
    Killed,
    RecordingFileSystem,
    broken_disk,
    each_step,
    full_disk,
)
from tests.odb.samples import new_files, new_store, staged
from tests.odb.sides import Release, held, keep, release, rollout, send, side, tree
from tupli_repo.errors import StorageIOError
from tupli_repo.odb.objects import Object, ObjectId

OLD = release(range(3), size=900)
NEW = release(range(2, 6), size=900)
ALL = [*OLD.objects.values(), *NEW.objects.values()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    store = new_store(root)
    keep(store, OLD)
    store.append(rollout(77))  # a neighbour
    keep(store, NEW)
    store.close()
    return root


@pytest.fixture(scope="module")
def half(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target that has the older release."""
    root = tmp_path_factory.mktemp("half")
    new_files(root, only_for=ALL)
    send(side(source), side(root), OLD.root)
    return root


def assert_whole_and_finish(source: Path, here: Path, *, was_done: bool) -> None:
    """All that was there is there, nothing is without its links, and the next run completes."""
    found = held(here)
    assert OLD.objects.items() <= found.items()
    assert found.items() <= {**OLD.objects, **NEW.objects}.items()
    for obj in found.values():
        assert set(obj.links) <= found.keys()
    if was_done:
        assert found == {**OLD.objects, **NEW.objects}
    report = send(side(source), side(here, HastyFileSystem()), NEW.root)
    assert report.copied == len(NEW.objects.keys() - found.keys())
    assert held(here) == {**OLD.objects, **NEW.objects}
    assert send(side(source), side(here), NEW.root).copied == 0


def copied_tree(template: Path, to: Path) -> Path:
    shutil.copytree(template, to)
    return to


@pytest.mark.parametrize("torn", [0.0, 0.6, 1.0])
def test_death_at_any_step_leaves_the_target_whole(
    tmp_path: Path, source: Path, half: Path, torn: float
) -> None:
    for attempt in each_step(Killed, torn=torn):
        here = copied_tree(half, tmp_path / str(attempt.step))
        with attempt:
            send(side(source), side(here, attempt.fs), NEW.root)
        assert_whole_and_finish(source, here, was_done=attempt.error is None)
    assert attempt.step > 20


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("fault", [full_disk, broken_disk], ids=["full", "broken"])
def test_a_disk_that_refuses_at_any_step_is_told_and_leaves_no_scratch(
    tmp_path: Path, source: Path, half: Path, fault: Callable[[], OSError], *, lasting: bool
) -> None:
    for attempt in each_step(fault, torn=0.5, lasting=lasting):
        here = copied_tree(half, tmp_path / str(attempt.step))
        with attempt:
            send(side(source), side(here, attempt.fs), NEW.root)
        if attempt.error is not None:
            assert isinstance(attempt.error, StorageIOError)
        assert not staged(here)
        assert not attempt.fs._paths  # every file is closed
        assert_whole_and_finish(source, here, was_done=False)


def test_ctrl_c_at_any_step_leaves_no_scratch(tmp_path: Path, source: Path, half: Path) -> None:
    for attempt in each_step(KeyboardInterrupt, torn=0.5):
        here = copied_tree(half, tmp_path / str(attempt.step))
        with attempt:
            send(side(source), side(here, attempt.fs), NEW.root)
        assert not staged(here)
        assert_whole_and_finish(source, here, was_done=False)


class ReadingFails(RecordingFileSystem):
    """Fails at the n-th primitive that reads, and at each one after it that reads."""

    def __init__(self, step: int, fault: BaseException) -> None:
        super().__init__()
        self.left, self.fault, self.failed = step, fault, False

    def before(self, call: Call) -> None:
        super().before(call)
        if call.changes or call.name == "close":
            return
        self.left -= 1
        if self.left <= 0:
            self.failed = True
            raise self.fault


@pytest.mark.parametrize("fault", [broken_disk, Killed], ids=["broken", "killed"])
@pytest.mark.parametrize("failing", ["source", "target"])
@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_side_that_cannot_be_read_any_more_leaves_the_target_whole(
    tmp_path: Path,
    source: Path,
    half: Path,
    failing: str,
    fault: Callable[[], BaseException],
    stride: int,
) -> None:
    step = 1
    while True:
        step += stride
        here = copied_tree(half, tmp_path / str(step))
        fs = ReadingFails(step, fault())
        sides = (fs, None) if failing == "source" else (None, fs)
        with suppress(StorageIOError, Killed):
            send(side(source, sides[0]), side(here, sides[1]), NEW.root)
        fs.release()
        assert_whole_and_finish(source, here, was_done=not fs.failed)
        if not fs.failed:
            break
        shutil.rmtree(here)
    assert step > 20


def test_a_read_only_target_is_an_error_and_the_source_is_untouched(
    tmp_path: Path, source: Path, half: Path
) -> None:
    here = copied_tree(half, tmp_path / "here")
    before = tree(source), tree(here)
    for attempt in each_step(lambda: PermissionError(30, "Read-only file system"), lasting=True):
        with attempt:
            send(side(source), side(here, attempt.fs), NEW.root)
        break
    assert isinstance(attempt.error, StorageIOError)
    assert (tree(source), tree(here)) == before


def test_a_copy_of_many_packs_that_dies_sends_the_rest_only(tmp_path: Path) -> None:
    """Packs that are written before the fault are not written again."""
    a, b = tmp_path / "a", tmp_path / "b"
    store = new_store(a)
    store._writer._target_bytes = 20 << 20
    made: Release = release(range(45), size=1_000_000)
    keep(store, made)
    store.close()
    new_files(b)
    from_steps: dict[ObjectId, Object] = {}
    for attempt in each_step(Killed, torn=0.5, skip=range(100)):
        with attempt:
            send(side(a), side(b, attempt.fs), made.root)
        from_steps = held(b)
        break
    assert attempt.error is not None
    packs = {path.name: path.stat().st_mtime_ns for path in (b / ".tupli/packs").iterdir()}
    assert len(packs) in (1, 2)
    report = send(side(a), side(b), made.root)
    assert report.copied == len(made.objects) - len(from_steps)
    assert held(b) == made.objects
    again = {path.name: path.stat().st_mtime_ns for path in (b / ".tupli/packs").iterdir()}
    assert packs.items() <= again.items()
