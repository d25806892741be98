"""What is new costs what it is, however much is there already: in bytes read, sent and kept."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem
from tests.growth import add_pack, peak_bytes
from tests.test_storage import episode, query
from tupli_repo.errors import CorruptObjectError
from tupli_repo.repository import Repository
from tupli_repo.schema.transfers import TransferReport
from tupli_repo.storage import FileStorage

FEW, MANY = 2_000, 8_000


class CountingFileSystem(HastyFileSystem):
    """Counts the bytes that are read, and those of them that are of packs."""

    def __init__(self) -> None:
        super().__init__()
        self.n_read = self.n_read_of_packs = 0
        self._packs: set[int] = set()

    def open_read(self, path: Path) -> int:
        descriptor = super().open_read(path)
        self._packs.discard(descriptor)
        if path.suffix == ".pack":
            self._packs.add(descriptor)
        return descriptor

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        found = super().read(descriptor, size, offset)
        self.n_read += len(found)
        self.n_read_of_packs += len(found) * (descriptor in self._packs)
        return found


class World:
    """A lab with ``n`` episodes that are published and on a drive, and their readers."""

    def __init__(self, folder: Path, n: int) -> None:
        self.fs = CountingFileSystem()
        self.lab = FileStorage(folder / "lab", fs=self.fs)
        self.drive = folder / "drive"
        self.benchmark = self.lab.store_benchmark(query()).id
        self.add_packed(n)
        Repository.init(self.drive, bare=True).close()
        self.share()
        self.add()
        self.share()  # whatever is made once has been made

    def add_packed(self, n: int) -> None:
        """Add episodes that differ in their seeds, in one pack."""
        differ = ({"seed": seed, "nonce": f"{random.random()}"[:16]} for seed in range(n))
        add_pack(self.lab, self.benchmark, differ)

    def add(self) -> str:
        found = self.lab.record_episode(episode(self.benchmark, 3)).id
        self.lab.close()
        return found

    def share(self) -> None:
        self.publish()
        self.push()

    def push(self) -> TransferReport:
        return self.lab.push(str(self.drive))

    def publish(self) -> None:
        self.lab.publish(self.benchmark, episodes=True)

    def bytes_read(self, work: Callable[[], object]) -> int:
        before = self.fs.n_read
        work()
        return self.fs.n_read - before


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, World]:
    folder = tmp_path_factory.mktemp("growth")
    return World(folder / "few", FEW), World(folder / "many", MANY)


def test_a_push_reads_nothing_of_what_is_there(worlds: tuple[World, World]):
    few, many = worlds
    costs = []
    for world in (few, many):
        world.add()
        world.publish()
        costs.append(world.bytes_read(world.push))
    assert costs[1] < costs[0] + 8 * (MANY - FEW)  # an id has 32


def test_a_push_with_nothing_to_bring_reads_nothing_of_what_is_there(worlds: tuple[World, World]):
    few, many = (world.bytes_read(world.push) for world in worlds)
    assert many < few + 8 * (MANY - FEW)


def test_a_push_holds_little_of_what_is_there(worlds: tuple[World, World]):
    peaks = []
    for world in worlds:
        world.add()
        world.publish()
        peaks.append(peak_bytes(world.push))
    assert peaks[1] < peaks[0] + 32 * (MANY - FEW)


def test_publishing_what_is_new_holds_little_more_than_the_ids_of_all(worlds: tuple[World, World]):
    peaks = []
    for world in worlds:
        world.add()
        peaks.append(peak_bytes(world.publish))
    assert peaks[1] < peaks[0] + 160 * (MANY - FEW)  # to sort and hash them: twice 32, and 24


def test_a_process_that_begins_lists_without_reading_packs(
    worlds: tuple[World, World],
):
    costs = []
    for world in worlds:
        world.lab.count_episodes()
        fs = CountingFileSystem()
        with FileStorage(world.lab.root.parent, fs=fs) as other:
            assert other.count_episodes() == world.lab.count_episodes()
            costs.append(fs.n_read_of_packs)
    assert costs[1] < costs[0] + 8 * (MANY - FEW)


def test_what_has_gone_on_a_drive_is_brought_again(tmp_path: Path):
    world = World(tmp_path, FEW)
    before = world.push()
    assert before.n_objects == 0
    packs = sorted(
        (world.drive / ".tupli" / "packs").iterdir(), key=lambda path: path.stat().st_size
    )
    packs[-1].unlink()
    report = world.push()
    assert report.n_objects >= FEW
    assert Repository(world.drive).count_episodes() == world.lab.count_episodes()


def test_what_has_gone_here_is_noticed_by_whoever_publishes_or_lists(tmp_path: Path):
    world = World(tmp_path, FEW)
    world.lab.count_episodes()
    packs = sorted(world.lab._files.packs.iterdir(), key=lambda path: path.stat().st_size)
    packs[-1].unlink()
    for lab in (world.lab, FileStorage(tmp_path / "lab")):
        (name,) = lab.names()
        assert name.current == ()
        assert lab.log(name.name)[0].pending


def test_a_pack_whose_end_was_changed_in_place_is_noticed_by_a_new_process(tmp_path: Path):
    world = World(tmp_path, FEW)
    assert world.lab.names()
    packs = sorted(world.lab._files.packs.iterdir(), key=lambda path: path.stat().st_size)
    data = packs[-1].read_bytes()
    packs[-1].chmod(0o644)
    packs[-1].write_bytes(data[:-100] + bytes(100))
    with pytest.raises(CorruptObjectError, match="does not end like a pack"):
        FileStorage(tmp_path / "lab").names()
