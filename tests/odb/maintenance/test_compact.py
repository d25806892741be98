"""Packs become one: what stays is the same, byte for byte, whatever else happens meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import HastyFileSystem, Killed, RecordingFileSystem, each_step
from tests.odb.samples import (
    blob,
    by_id,
    episode,
    everything,
    id_of,
    names,
    new_files,
    new_store,
    overwrite,
    record,
    reopen,
    write_pack,
)
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import trash
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.maintenance.compact import (
    MAX_BYTES,
    Compacted,
    Pack,
    choose_small,
    compact,
    group,
    merge_small,
)
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.pack import TARGET_BYTES, PackFile

MIB = 1 << 20


def all_stays(_: ObjectId) -> bool:
    return True


def packs_of(files: RepositoryFiles, *, loses: bool = False) -> list[Pack]:
    found = []
    for path in sorted(files.packs.glob("*.pack")):
        status = files.fs.status(path)
        found.append(Pack(status.mtime_ns, path.name, status.size_bytes, loses))
    return found


def sizes(*mib: int) -> list[Pack]:
    return [Pack(n, f"{n:064x}.pack", size * MIB) for n, size in enumerate(mib)]


# ---- which


@pytest.mark.parametrize(
    ("there", "merged"),
    [
        ([], []),
        ([5], []),
        ([1, 1], [1, 1]),
        ([1, 2, 4, 8], []),
        ([1, 1, 4, 8], [1, 1]),
        ([1, 1, 3, 10], [1, 1, 3]),
        ([1, 1, 3, 9], [1, 1, 3, 9]),
        ([8, 8, 8, 20], [8, 8, 8, 20]),
        ([64, 64, 100], []),
        ([1, 1, 64], [1, 1]),
    ],
)
def test_small_packs_are_chosen_so_that_each_left_is_twice_the_next(
    there: list[int], merged: list[int]
):
    assert [pack.size_bytes // MIB for pack in choose_small(sizes(*there))] == merged


@given(st.lists(st.integers(1, 128 * MIB), max_size=30))
def test_choosing_and_grouping_end_with_few_packs_of_bounded_size(there: list[int]):
    packs = [Pack(n, f"{n:064x}.pack", size) for n, size in enumerate(there)]
    for _ in range(40):
        groups = group(choose_small(packs))
        gone = {pack for some in groups for pack in some}
        made = [sum(pack.size_bytes for pack in some) for some in groups]
        assert all(size <= MAX_BYTES for size in made)
        packs = [pack for pack in packs if pack not in gone]
        packs += [Pack(100, f"{n:032x}{len(packs):032x}.pack", size) for n, size in enumerate(made)]
    assert group(choose_small(packs)) == []
    small = sorted(pack.size_bytes for pack in packs if pack.size_bytes < TARGET_BYTES)
    assert len(small) <= 28


def test_a_pack_that_would_come_out_as_it_is_is_left_alone():
    (pack,) = sizes(5)
    assert group([pack]) == []
    assert group([pack._replace(loses=True)]) == [[pack._replace(loses=True)]]


# ---- how


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), min_size=1, max_size=4),
    st.sets(st.integers(0, 30)),
)
def test_what_stays_is_in_one_pack_once_and_the_rest_is_in_the_trash(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[int]], dead: set[int]
):
    files = new_files(tmp_path_factory.mktemp("lab"), HastyFileSystem(), only_for=())
    for numbers in contents:
        write_pack(files, [one for n in dict.fromkeys(numbers) for one in episode(n, 2000)])
    stays = by_id([x for some in contents for n in some if n not in dead for x in episode(n, 2000)])
    report = Compacted()
    before = packs_of(files)
    compact(files, before, stays.__contains__, report)
    left = list(files.packs.glob("*.pack"))
    held = [oid for path in left for oid in PackFile(files, path).directory.ids()]
    assert sorted(held) == sorted(stays)
    assert report.rescued == 0
    found = {oid: obj for path in left for oid, obj in PackFile(files, path).read_many(stays)}
    assert found == stays
    trashed = {path.name for run in trash.runs(files) for path in run.files}
    assert trashed == {pack.name for pack in before} - {path.name for path in left}


def test_large_blocks_are_copied_byte_for_byte(tmp_path: Path):
    files = new_files(tmp_path, only_for=())
    large = [Object(kind=Kind.BLOB, body=bytes([n]) * 100_000 + b"x" * n) for n in range(4)]
    for n in range(2):
        write_pack(files, [*large[2 * n : 2 * n + 2], record(n)])
    frames = set()
    for path in files.packs.glob("*.pack"):
        places = PackFile(files, path).directory.blocks
        data = path.read_bytes()
        frames |= {data[place.offset : place.end] for place in places if place.raw > 60_000}
    compact(files, packs_of(files), all_stays, Compacted())
    (made,) = files.packs.glob("*.pack")
    assert len(frames) == 4
    assert all(frame in made.read_bytes() for frame in frames)
    assert len(PackFile(files, made).directory.blocks) == 5  # the records share one


def test_a_pack_that_comes_out_as_it_was_stays(tmp_path: Path):
    files = new_files(tmp_path, only_for=())
    write_pack(files, episode(1))
    before = names(tmp_path, ".pack")
    compact(files, packs_of(files), all_stays, Compacted())
    assert names(tmp_path, ".pack") == before
    assert trash.runs(files) == []


def test_an_output_that_is_one_of_the_inputs_stays(tmp_path: Path):
    files = new_files(tmp_path, only_for=())
    write_pack(files, [*episode(1), *episode(2)])
    write_pack(files, episode(1))
    inputs = sorted(packs_of(files))
    kept = max(inputs, key=lambda pack: pack.size_bytes)
    compact(files, [kept, *(p for p in inputs if p != kept)], all_stays, Compacted())
    assert [path.name for path in names(tmp_path, ".pack")] == [kept.name]
    assert everything(reopen(tmp_path)) == by_id([*episode(1), *episode(2)])


def test_what_loses_something_is_kept_for_long_and_the_rest_for_a_day(tmp_path: Path):
    for n, loses in enumerate((False, True)):
        files = new_files(tmp_path / str(n), only_for=())
        for k in range(2):
            write_pack(files, episode(k))
        compact(files, packs_of(files, loses=loses), all_stays, Compacted())
        (run,) = trash.runs(files)
        assert run.reason == (trash.UNREACHABLE if loses else trash.SUPERSEDED)
        assert run.kept.days == (14 if loses else 1)


# ---- rivals


class Meddling(RecordingFileSystem):
    """Lets somebody else act once, right before or after a primitive on some file."""

    def __init__(self, name: str, suffix: str, act: Callable[[], None], *, nth: int = 1) -> None:
        super().__init__()
        self.meddle = (name, suffix)
        self.act = act
        self.left = nth

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.acted("remove", path)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.acted("rename", target)

    def acted(self, name: str, path: Path) -> None:
        if (name, path.suffix) == self.meddle:
            self.left -= 1
            if self.left == 0:
                self.act()


def test_two_who_leave_out_what_the_other_has_lose_nothing(tmp_path: Path):
    """The second one to look sees that both packs are away, and brings its own back."""
    plain = new_files(tmp_path, only_for=())
    one, two = (write_pack(plain, [*episode(1), record(n)]) for n in (7, 8))
    shared = by_id(episode(1))
    first, second = (next(p for p in packs_of(plain) if p.name == x.name) for x in (one, two))

    def rival() -> None:  # it moves its own away without a look, as a trusting one would
        trash.move_to_trash(plain, plain.packs / second.name, reason=trash.SUPERSEDED)

    files = RepositoryFiles(plain.root, Meddling("remove", ".pack", rival))
    made = {id_of(record(7))}

    class Trusting:
        """Says that the shared objects need not be copied, and later that they are needed."""

        def __init__(self) -> None:
            self.copied = set[ObjectId]()

        def __call__(self, oid: ObjectId) -> bool:
            if oid in made or oid in self.copied:
                return True
            self.copied.add(oid)
            return False

    report = Compacted()
    compact(files, [first], Trusting(), report)
    assert report.rescued == 1
    assert shared.keys() <= everything(reopen(tmp_path)).keys()


def test_an_output_that_is_merged_on_by_another_meanwhile_is_no_loss(tmp_path: Path):
    plain = new_files(tmp_path, only_for=())
    for n in range(2):
        write_pack(plain, episode(n))
    first = packs_of(plain)
    write_pack(plain, episode(2))

    def rival() -> None:
        compact(plain, packs_of(plain), all_stays, Compacted())

    files = RepositoryFiles(plain.root, Meddling("rename", ".pack", rival))
    compact(files, first, all_stays, Compacted())
    assert len(names(tmp_path, ".pack")) == 1
    assert everything(reopen(tmp_path)) == by_id([x for n in range(3) for x in episode(n)])


def test_an_output_that_another_moves_away_brings_the_old_ones_back(tmp_path: Path):
    plain = new_files(tmp_path, only_for=())
    for n in range(2):
        write_pack(plain, episode(n))
    first = packs_of(plain)

    def rival() -> None:
        made = next(p for p in names(tmp_path, ".pack") if p.name not in {x.name for x in first})
        trash.move_to_trash(plain, made, reason=trash.UNREACHABLE)

    files = RepositoryFiles(plain.root, Meddling("remove", ".pack", rival, nth=1))
    report = Compacted()
    compact(files, first, all_stays, report)
    assert report.rescued == 2
    assert everything(reopen(tmp_path)) == by_id([x for n in range(2) for x in episode(n)])


def test_an_input_that_is_gone_is_somebody_elses_work(tmp_path: Path):
    files = new_files(tmp_path, only_for=())
    for n in range(2):
        write_pack(files, episode(n))
    chosen = packs_of(files)
    trash.move_to_trash(files, files.packs / chosen[1].name, reason=trash.SUPERSEDED)
    report = Compacted()
    compact(files, chosen, all_stays, report)
    assert (report.merged, report.written) == (0, 0)
    assert names(tmp_path, ".pack") == [files.packs / chosen[0].name]


def test_a_damaged_input_is_told_and_everything_stays(tmp_path: Path):
    files = new_files(tmp_path, only_for=())
    for n in range(2):
        write_pack(files, episode(n))
    path = names(tmp_path, ".pack")[0]
    data = path.read_bytes()
    overwrite(path, data[:40] + bytes([data[40] ^ 1]) + data[41:])
    with pytest.raises(CorruptObjectError, match="damaged"):
        compact(files, packs_of(files), all_stays, Compacted())
    assert len(names(tmp_path, ".pack")) == 2
    assert trash.runs(files) == []


def test_death_at_any_step_leaves_every_object_readable(tmp_path: Path):
    wanted = by_id([x for n in range(3) for x in episode(n)])
    for attempt in each_step(Killed):
        root = tmp_path / str(attempt.step)
        plain = new_files(root, only_for=())
        for n in range(3):
            write_pack(plain, episode(n))
        reader = reopen(root)
        reader.refresh()
        files = RepositoryFiles(plain.root, attempt.fs)
        with attempt:
            compact(files, packs_of(plain), all_stays, Compacted())
        assert dict(reader.read_many(wanted)) == wanted
        assert everything(reopen(root)) == wanted
        merge_small(plain, at_least=2)
        assert everything(reopen(root)) == wanted


def test_few_packs_are_not_merged_unasked(tmp_path: Path):
    store = new_store(tmp_path)
    for n in range(5):
        store.append([blob(n)])
        store.seal()
    files = RepositoryFiles(tmp_path / ".tupli")
    assert merge_small(files).merged == 0
    assert merge_small(files, at_least=5).merged == 5
