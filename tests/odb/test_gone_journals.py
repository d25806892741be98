"""A journal that somebody else sealed, taking its writer for dead: nothing is lost."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem
from tests.odb.samples import (
    by_id,
    episode,
    everything,
    names,
    new_files,
    new_store,
    overwrite,
    reopen,
)
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import journal as journal_module
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.journal import seal
from tupli_repo.odb.pack import PackFile, PackWriter
from tupli_repo.odb.store import ObjectStore


def seal_all(root: Path) -> None:
    """What another process does with journals whose writer seems to be dead."""
    for path in names(root, ".journal"):
        seal(new_files(root, HastyFileSystem()), path)


@pytest.mark.parametrize("then", ["append", "sync", "close"])
def test_what_a_writer_adds_after_its_journal_was_sealed_is_found(tmp_path: Path, then: str):
    store = new_store(tmp_path)
    store.append(episode(1))
    store.sync()
    store.append(episode(2))
    seal_all(tmp_path)
    expected = by_id([*episode(1), *episode(2)])
    assert everything(reopen(tmp_path)) == expected
    if then == "append":
        store.append(episode(3))
        expected |= by_id(episode(3))
    elif then == "sync":
        store.sync()
    else:
        store.close()
    assert everything(reopen(tmp_path)) == expected
    store.append(episode(4))
    store.close()
    assert everything(reopen(tmp_path)) == expected | by_id(episode(4))
    assert names(tmp_path, ".journal") == []


def test_what_is_packed_already_is_not_written_again(tmp_path: Path):
    store = new_store(tmp_path)
    store.append(episode(1))
    seal_all(tmp_path)
    store.append(episode(2))
    store.close()
    files = RepositoryFiles(tmp_path / ".tupli")
    first, second = (
        set(PackFile(files, path).directory.ids()) for path in names(tmp_path, ".pack")
    )
    assert first.isdisjoint(second)


def test_an_append_between_the_sealers_look_and_its_move_is_packed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = new_store(tmp_path)
    store.append(episode(1))
    (path,) = names(tmp_path, ".journal")
    commit = PackWriter.commit

    def slow_commit(writer: PackWriter) -> Path:
        monkeypatch.setattr(PackWriter, "commit", commit)
        packed = writer.commit()
        store.append(episode(2))  # the sealer has read; the journal is still in its place
        store.sync()
        return packed

    monkeypatch.setattr(PackWriter, "commit", slow_commit)
    packed = journal_module.seal(new_files(tmp_path, HastyFileSystem()), path)
    assert len(packed) == 2
    assert everything(reopen(tmp_path)) == by_id([*episode(1), *episode(2)])


def test_writers_and_a_hasty_sealer_lose_nothing(tmp_path: Path):
    stores = [new_store(tmp_path), reopen(tmp_path)]
    done = threading.Event()
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as err:  # noqa: BLE001 - told by the main thread
                errors.append(err)

        return run

    def write(store: ObjectStore, start: int) -> Callable[[], None]:
        def work() -> None:
            for n in range(start, start + 40):
                store.append(episode(n))
                if n % 5 == 0:
                    store.sync()
            store.close()

        return work

    def steal() -> None:
        while not done.is_set():
            for path in names(tmp_path, ".journal"):
                try:
                    seal(new_files(tmp_path, HastyFileSystem()), path)
                except FileNotFoundError:
                    continue

    writers = [
        threading.Thread(target=guarded(write(store, 1000 * number)))
        for number, store in enumerate(stores, start=1)
    ]
    thief = threading.Thread(target=guarded(steal))
    thief.start()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    thief.join()
    assert errors == []
    wanted = [one for start in (1000, 2000) for n in range(start, start + 40) for one in episode(n)]
    assert everything(reopen(tmp_path)) == by_id(wanted)


@pytest.mark.parametrize("is_set_aside", [True, False], ids=["set aside", "in its place"])
def test_what_somebody_damages_is_told_once_and_the_rest_is_kept(
    tmp_path: Path, is_set_aside: bool
):
    store = new_store(tmp_path)
    store.append(episode(1))
    start = names(tmp_path, ".journal")[0].stat().st_size
    store.append(episode(2))
    store.append(episode(3))
    (path,) = names(tmp_path, ".journal")
    data = bytearray(path.read_bytes())
    data[start + 25] ^= 1  # in the blob of the second episode
    overwrite(path, bytes(data))
    if is_set_aside:
        path.rename(tmp_path / ".tupli" / "damaged" / path.name)
    blob_of_two, two = by_id(episode(2))
    with pytest.raises(CorruptObjectError, match=f"1 objects .* lost.*'{two[:12]}'") as told:
        store.seal()
    assert told.value.path == path
    store.append(episode(4))
    store.close()
    if not is_set_aside:
        path.unlink()  # as `repair` sets it aside
    found = everything(reopen(tmp_path))
    expected = by_id([*episode(1), *episode(2), *episode(3), *episode(4)])
    del expected[blob_of_two]
    assert found == expected


def test_what_is_packed_already_is_not_lost_with_a_journal(tmp_path: Path):
    store = new_store(tmp_path)
    store.append(episode(1))
    (path,) = names(tmp_path, ".journal")
    seal_all(tmp_path)
    (moved,) = (tmp_path / ".tupli" / "trash").glob(f"*/{path.name}")
    overwrite(moved, moved.read_bytes()[:-30] + bytes(30))
    store.append(episode(2))
    store.close()
    assert everything(reopen(tmp_path)) == by_id([*episode(1), *episode(2)])


def test_a_damaged_pack_beside_it_does_not_keep_a_writer_from_what_it_has(tmp_path: Path):
    store = new_store(tmp_path)
    store.append(episode(1))
    seal_all(tmp_path)
    (packed,) = names(tmp_path, ".pack")
    whole = packed.read_bytes()
    overwrite(packed, whole[:-1] + b"?")
    store.append(episode(2))
    store.close()
    packed.unlink()
    assert everything(reopen(tmp_path)) == by_id([*episode(1), *episode(2)])
