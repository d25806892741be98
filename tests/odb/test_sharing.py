"""Several stores, threads and processes on one folder lose sight of nothing."""

from contextlib import suppress
from pathlib import Path
from threading import Thread

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.faults import HastyFileSystem, RecordingFileSystem
from tests.odb.samples import (
    abandon,
    blob,
    by_id,
    episode,
    everything,
    id_of,
    loose_path,
    names,
    new_files,
    new_store,
    objects,
    overwrite,
    reopen,
    staged,
)
from tupli_repo.errors import (
    CorruptObjectError,
)
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.journal import seal
from tupli_repo.odb.objects import Object, ObjectId
from tupli_repo.odb.store import ObjectStore


def test_a_reader_never_loses_sight_while_another_seals(tmp_path: Path) -> None:
    writer, reader = new_store(tmp_path), reopen(tmp_path)
    acknowledged: list[ObjectId] = []
    errors: list[BaseException] = []

    def write() -> None:
        try:
            for n in range(60):
                oids = writer.append(episode(n))
                acknowledged.extend(oids)
                writer.seal()
        except BaseException as err:  # noqa: BLE001 - told by the other thread
            errors.append(err)

    thread = Thread(target=write)
    thread.start()
    alive = True
    while alive:
        alive = thread.is_alive()
        sure = list(acknowledged)
        reader.refresh()
        assert all(reader.contains(oid) for oid in sure)
        assert set(sure) <= set(reader.ids())
        assert len(list(reader.read_many(sure))) == len(sure)
    thread.join()
    assert not errors
    assert len(acknowledged) == 120


def test_a_journal_sealed_between_listing_and_looking_is_not_lost(tmp_path: Path) -> None:
    """The one moment that a loop seldom meets, made on purpose."""
    writer = new_store(tmp_path)
    writer.append(episode(1))

    class Meddling(RecordingFileSystem):
        def open_read(self, path: Path) -> int:
            if path.suffix == ".journal":
                writer.seal()
            return super().open_read(path)

    reader = ObjectStore(RepositoryFiles(tmp_path / ".tupli", Meddling()))
    reader.refresh()
    assert sorted(reader.ids()) == sorted(by_id(episode(1)))


def test_a_listing_that_misses_both_journal_and_pack_is_made_up_for(tmp_path: Path) -> None:
    """A folder is not listed in one moment: the pack may come behind, the journal go ahead."""
    writer = new_store(tmp_path)
    writer.append(episode(1))

    class Moving(RecordingFileSystem):
        def list_folder(self, path: Path) -> list[str]:
            if path.name == "packs" and names(tmp_path, ".journal"):
                writer.seal()
                return []
            return super().list_folder(path)

    reader = ObjectStore(RepositoryFiles(tmp_path / ".tupli", Moving()))
    reader.refresh()
    assert sorted(reader.ids()) == sorted(by_id(episode(1)))


def test_a_pack_superseded_between_two_looks_is_found_again(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.append(episode(1))
    store.refresh()
    (path,) = names(tmp_path, ".journal")
    seal(new_files(tmp_path), path)  # by somebody else, at any moment
    assert dict(store.read_many(by_id(episode(1)))) == by_id(episode(1))


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store._writer._target_bytes = 3000
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for n in range(first, first + 15):
                oids = store.append(episode(n))
                store.write(blob(1000 + n))
                if n % 4 == 0:
                    store.sync()
                    store.refresh()
                assert dict(store.read_many(oids)) == by_id(episode(n))
        except BaseException as err:  # noqa: BLE001 - told below
            errors.append(err)

    threads = [Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(everything(store)) == 4 * 15 * 3


class StoreMachine(RuleBasedStateMachine):
    """Two stores on one folder against a dict; now and then one of them dies."""

    root: Path
    count = 0
    fs = HastyFileSystem()

    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        StoreMachine.count += 1
        self.here = self.root / str(StoreMachine.count)
        self.stores = [new_store(self.here, self.fs), reopen(self.here, self.fs)]
        self.model: dict[ObjectId, Object] = {}

    @rule(target=known, which=st.integers(0, 1), obj=objects(60))
    def write(self, which: int, obj: Object) -> ObjectId:
        self.model[id_of(obj)] = obj
        return self.stores[which].write(obj)

    @rule(target=known, which=st.integers(0, 1), some=st.lists(objects(60), max_size=4))
    def append(self, which: int, some: list[Object]):
        oids = self.stores[which].append(some)
        self.model |= by_id(some)
        return multiple(*oids)

    @rule(which=st.integers(0, 1))
    def sync(self, which: int) -> None:
        self.stores[which].sync()

    @rule(which=st.integers(0, 1))
    def seal(self, which: int) -> None:
        self.stores[which].seal()

    @rule(which=st.integers(0, 1))
    def die_and_come_back(self, which: int) -> None:
        abandon(self.stores[which])
        self.stores[which] = reopen(self.here, self.fs)

    @rule(which=st.integers(0, 1), oid=known)
    def read(self, which: int, oid: ObjectId) -> None:
        assert self.stores[which].read(oid) == self.model[oid]

    @rule(which=st.integers(0, 1), oid=consumes(known))
    def damage_is_told_and_mended(self, which: int, oid: ObjectId) -> None:
        path = loose_path(self.here, oid)
        if path.exists():
            overwrite(path, path.read_bytes()[:-3])
            with suppress(CorruptObjectError):
                assert self.stores[which].read(oid) == self.model[oid]  # from a pack
            self.stores[which].write(self.model[oid])

    @invariant()
    def both_hold_what_the_model_holds(self) -> None:
        for store in self.stores:
            assert everything(store) == self.model
        assert not staged(self.here)


def test_two_stores_agree_with_a_model(tmp_path: Path) -> None:
    StoreMachine.root = tmp_path
    run_state_machine_as_test(
        StoreMachine, settings=settings(max_examples=12, stateful_step_count=15, deadline=None)
    )
