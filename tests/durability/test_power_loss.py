"""A power loss at any moment: what was acknowledged is there, nothing is wrong, work goes on.

The mutants show that the model has teeth: each is our own code with one precaution left out.
"""

from copy import copy
from pathlib import Path

import pytest

from tests.durability.losing import Losses, lose_power
from tests.durability.scenarios import SCENARIOS, Scenario
from tests.faults import MemoryFileSystem
from tupli_repo.odb.files import Scratch

BY_NAME = {one.name: one for one in SCENARIOS}
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
SAMPLE, DEEP = 12, 3_000


@each_scenario
def test_a_power_loss_takes_nothing_that_was_acknowledged(scenario: Scenario) -> None:
    found = lose_power(scenario, SAMPLE, use_each=SAMPLE)
    assert not found.violations, found.example
    assert found.n_states == SAMPLE


@pytest.mark.torture
@each_scenario
def test_thousands_of_power_losses_take_nothing_that_was_acknowledged(scenario: Scenario) -> None:
    found = lose_power(scenario, DEEP, seed=1, use_each=20)
    assert not found.violations, found.example
    assert found.n_states == DEEP


# ---- mutants: code that the model must find wanting


class NoFileSync(MemoryFileSystem):
    """Never syncs a file."""

    def fsync(self, descriptor: int) -> None:
        self._at(descriptor)


class NoFolderSync(MemoryFileSystem):
    """Never syncs a folder."""

    def fsync_folder(self, path: Path) -> None:
        self.status(path)


class NoParentSync(MemoryFileSystem):
    """Syncs no folder for the sake of the folders in it."""

    def fsync_folder(self, path: Path) -> None:
        if any(self.status(path / name).is_file for name in self.list_folder(path)):
            super().fsync_folder(path)


def _as(kind: type[MemoryFileSystem], scenario: Scenario) -> MemoryFileSystem:
    """The disk at the beginning, as another kind of disk."""
    disk = kind()
    plain = scenario.start().disk.copy()
    disk.root, disk._next_inode, disk.now_ns = plain.root, plain._next_inode, plain.now_ns
    return disk


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (NoFileSync, "recording"),
        (NoFileSync, "sealing"),
        (NoFileSync, "storing"),
        (NoFileSync, "publishing"),
        (NoFolderSync, "recording"),
        (NoFolderSync, "sealing"),
        (NoFolderSync, "storing"),
        (NoFolderSync, "pushing"),
        (NoFileSync, "compacting"),
        (NoFileSync, "repairing"),
        (NoFolderSync, "compacting"),
        (NoFolderSync, "cleaning_a_drive"),
        (NoParentSync, "storing"),
        (NoParentSync, "pinning"),
        (NoParentSync, "pulling"),
    ],
)
def test_a_sync_that_is_left_out_is_noticed(kind: type[MemoryFileSystem], name: str) -> None:
    found = _lose(BY_NAME[name], disk=_as(kind, BY_NAME[name]))
    assert found.violations


@pytest.mark.parametrize("name", ["publishing", "pinning", "pushing", "pulling"])
def test_a_ref_that_comes_before_its_objects_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of objects get their names only once the next record has its own."""
    held: list[tuple[Scratch, Path, bool]] = []
    commit = Scratch.commit

    def commit_late(scratch: Scratch, final: Path, *, replace: bool = True) -> None:
        if "refs" not in final.parts:
            held.append((copy(scratch), final, replace))
            scratch._descriptor = None  # the copy has it now
            return
        commit(scratch, final, replace=replace)
        while held:
            late, path, may_replace = held.pop(0)
            commit(late, path, replace=may_replace)

    monkeypatch.setattr(Scratch, "commit", commit_late)
    assert _lose(BY_NAME[name]).violations


@pytest.mark.parametrize("name", ["storing", "sealing", "publishing", "pushing"])
def test_a_file_that_is_written_where_it_is_to_be_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is synced, and yet half of a file may be all there is of it."""

    def write_in_place(scratch: Scratch, final: Path, *, replace: bool = True) -> None:
        fs = scratch._files.fs
        data = scratch.read(fs.status(scratch._path).size_bytes, 0)
        scratch.discard()
        if scratch._files.status(final) is not None:
            return
        scratch._files.ensure_parents(final)
        descriptor = fs.create(final, mode=0o444)
        fs.write(descriptor, data[: len(data) // 2])
        fs.write(descriptor, data[len(data) // 2 :])
        fs.fsync(descriptor)
        fs.close(descriptor)
        fs.fsync_folder(final.parent)

    monkeypatch.setattr(Scratch, "commit", write_in_place)
    assert _lose(BY_NAME[name]).violations


def _lose(scenario: Scenario, *, disk: MemoryFileSystem | None = None) -> Losses:
    return lose_power(scenario, 300, disk=disk, use_each=0, stop_at_first=True)
