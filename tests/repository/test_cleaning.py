"""gc on whole repositories: what goes, what stays, what comes back, and when."""

import errno
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from secrets import token_bytes

import pytest

from tests.faults import FailingFileSystem, MemoryFileSystem, RecordingFileSystem
from tests.faults.failing import full_disk, refusal
from tests.odb.samples import abandon, id_of, loose_path, overwrite, write_pack
from tests.odb.samples import blob as sample
from tests.repository.people import artifact, benchmark, drive, opened, person, published, record
from tests.test_storage import episode
from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    LockedError,
    NotFoundError,
    StorageIOError,
)
from tupli_repo.odb.maintenance.lock import cleaning
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.pack import PackFile
from tupli_repo.repository import Repository
from tupli_repo.schema.cleaning import GcReport

NOW = timedelta(0)
DAY = timedelta(days=1)


class Lab:
    """A repository in memory, whose time the test moves."""

    def __init__(self, *, bare: bool = False) -> None:
        self.disk = MemoryFileSystem()
        self.disk.make_folders("/lab")
        Repository.init("/lab", bare=bare, fs=self.disk).close()
        self.who = self.opened()

    def opened(self) -> Repository:
        return Repository("/lab", fs=self.disk)

    def wait(self, time: timedelta) -> None:
        self.disk.now_ns += round(time.total_seconds()) * 10**9

    def gc_after(self, time: timedelta, *, grace: timedelta = DAY) -> GcReport:
        self.wait(time)
        return self.who.gc(grace=grace)

    def stored(self, where: str = "") -> bytes:
        return b"".join(self.disk.files(f"/lab/.tupli/{where}").values())

    def block_files(self) -> list[str]:
        return [Path(path).name for path in self.disk.files("/lab/.tupli/packs")]

    def tree(self) -> int:
        return self.disk.print_of("/lab")


@pytest.fixture
def lab() -> Iterator[Lab]:
    found = Lab()
    yield found
    found.who.close()


def blob(who: Repository, text: bytes) -> ObjectId:
    """Store something that nothing leads to."""
    return who._store.write(Object(kind=Kind.BLOB, body=text))


def all_ids(who: Repository) -> set[ObjectId]:
    who._store.refresh()
    return set(who._store.ids())


def ids(who: Repository) -> set[str]:
    return {header.id for header in who.list_episodes()}


# ---- what stays, and what goes


def test_what_is_listed_stays_whole(lab: Lab):
    walk = benchmark(lab.who)
    recorded = set(record(lab.who, walk, 3))
    wind = artifact(lab.who, content=b"wind")
    for _ in range(3):
        lab.gc_after(DAY * 20, grace=NOW)
    assert ids(lab.who) == recorded
    assert lab.who.load_artifact(wind) == b"wind"
    assert lab.who.load_benchmark(walk).serialized
    assert len(list(lab.who.read_episodes(recorded))) == 3


def test_what_nothing_leads_to_goes_after_the_grace_and_is_freed_after_two_weeks(lab: Lab):
    garbage = blob(lab.who, b"g" * 10_000)
    assert lab.gc_after(timedelta(hours=23)).unreachable == 0
    report = lab.gc_after(timedelta(hours=2))
    assert (report.unreachable, report.files_trashed, report.bytes_freed) == (1, 1, 0)
    assert report.bytes_in_trash == report.bytes_trashed > 0
    assert garbage not in all_ids(lab.who)
    assert lab.who._store.read(garbage).body == b"g" * 10_000
    assert lab.gc_after(DAY * 13).bytes_freed == 0
    report = lab.gc_after(DAY * 2)
    assert (report.trash_removed, report.bytes_in_trash) == (1, 0)
    assert report.bytes_freed > 0
    with pytest.raises(NotFoundError):
        lab.who._store.read(garbage)


def test_a_removed_episode_is_on_the_disk_nowhere_in_the_end(lab: Lab):
    walk = benchmark(lab.who)
    secret = "do-not-tell-" * 400
    (bad,) = record(lab.who, walk, 1, secret=secret)
    good = record(lab.who, walk, 5)
    lab.who.remove([bad])
    report = lab.gc_after(DAY * 2)
    assert report.journals_sealed == 0  # ours was sealed as its own
    assert (report.packs_merged, report.packs_written) == (0, 0)  # the pack is young
    report = lab.gc_after(DAY * 2)
    assert (report.packs_merged, report.packs_written) == (1, 1)
    assert ObjectId(bad) not in all_ids(lab.who)
    assert lab.gc_after(DAY * 15).bytes_freed > 0
    assert lab.stored("trash") == b""
    again = lab.opened()
    assert ids(again) == set(good)
    for _, obj in again._store.read_many(again._store.ids()):
        assert b"do-not-tell" not in obj.body
    again.close()


def test_its_tombstone_stays_for_ever(lab: Lab):
    other = Lab()
    (bad,) = record(lab.who, benchmark(lab.who))
    lab.who.remove([bad])
    for _ in range(4):
        lab.gc_after(DAY * 20)
    assert len(lab.who._store.loose_ids(Kind.TOMBSTONE)) == 1
    other.who.close()


def test_a_removed_benchmark_stays_while_episodes_need_it(lab: Lab):
    walk, lone = benchmark(lab.who), benchmark(lab.who, "lone", digest="i")
    record(lab.who, walk)
    lab.who.remove([walk, lone])
    lab.gc_after(DAY * 2)
    assert ObjectId(walk) in all_ids(lab.who)
    assert ObjectId(lone) not in all_ids(lab.who)


def test_what_was_removed_stays_while_a_name_leads_to_it(lab: Lab):
    walk = benchmark(lab.who)
    record(lab.who, walk, 3)
    lab.who.publish("walk", episodes=True)
    pinned = record(lab.who, walk, 2)
    lab.who.pin("frozen", pinned)
    lab.who.remove([walk, *ids(lab.who)])
    assert ids(lab.who) == set()
    for _ in range(3):
        lab.gc_after(DAY * 20, grace=NOW)
    assert len(published(lab.who)) == 3
    assert published(lab.who, "frozen") == set(pinned)
    assert len(list(lab.who.read_episodes(published(lab.who) | set(pinned)))) == 5


def test_older_and_yanked_revisions_stay(lab: Lab):
    walk = benchmark(lab.who)
    first = record(lab.who, walk, 2)
    lab.who.publish("walk", episodes=True)
    record(lab.who, walk)
    lab.who.publish("walk", episodes=True)
    lab.who.yank("walk@2")
    lab.who.unpublish("walk", episodes=first)
    lab.who.remove([*ids(lab.who)])
    lab.gc_after(DAY * 20, grace=NOW)
    lab.gc_after(DAY * 20, grace=NOW)
    assert published(lab.who, "walk@1") == set(first)
    assert len(published(lab.who, "walk@2")) == 3


def test_a_bare_repository_keeps_what_its_names_lead_to_and_nothing_else(tmp_path: Path):
    there = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", there)
    walk = benchmark(ada)
    sent = set(record(ada, walk, 3))
    ada.publish("walk", episodes=True)
    ada.push()
    bare = opened(there)
    before = all_ids(bare)
    stray = benchmark(bare, "stray", digest="x")
    report = bare.gc(grace=NOW)
    assert report.unreachable == 2  # the benchmark, and who stored it; its text is a known one
    assert all_ids(bare) == before
    assert ObjectId(stray) not in before
    assert published(bare) == sent


def test_what_was_pruned_on_a_drive_does_not_come_back_from_its_trash(tmp_path: Path):
    there = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", there)
    walk = benchmark(ada)
    for _ in range(3):
        record(ada, walk, 2)
        ada.publish("walk", episodes=True)
        ada.push()
    bare = opened(there)
    assert bare.gc(grace=NOW).packs_merged == 3
    back = sorted(published(ada))[:2]
    ada.unpublish("walk", episodes=back)
    ada.push(prune=True)
    report = bare.gc(grace=NOW)
    assert report.rescued == 0
    assert all_ids(bare).isdisjoint(back)
    assert len(published(bare)) == 4


def test_a_drive_that_has_lost_what_leads_to_episodes_loses_nothing_more(tmp_path: Path):
    for lost in (Kind.EPISODES, Kind.RELEASE):
        there = Lab(bare=True)
        Repository.init("/ada", fs=there.disk).close()
        ada = Repository("/ada", fs=there.disk)
        ada.add_remote("origin", "/lab")
        walk = benchmark(ada)
        sent = set(record(ada, walk, 3))
        ada.publish("walk", episodes=True)
        ada.push()
        blob(there.who, b"nothing led to this when all was told")
        assert there.gc_after(DAY * 2).files_trashed == 1
        stray = blob(there.who, b"nothing leads to this")
        (gone,) = {oid for oid in all_ids(there.who) if there.who._store.read(oid).kind is lost}
        path = loose_path(Path("/lab"), gone)
        data = there.disk.files("/lab")[str(path)]
        there.disk.remove(path)
        there.who.close()
        there.who = there.opened()
        for _ in range(3):
            report = there.gc_after(DAY * 20, grace=NOW)
            assert (report.lacking, report.unreachable, report.bytes_freed) == (1, 0, 0)
        assert stray in all_ids(there.who)
        there.disk.overwrite(path, data)
        again = there.opened()
        assert published(again) == sent
        assert len(list(again.read_episodes(sent))) == 3
        there.who = again
        report = there.gc_after(DAY * 20)
        assert (report.lacking, report.unreachable, report.trash_removed) == (0, 1, 1)
        assert stray not in all_ids(again)


def test_a_drive_that_has_lost_a_revision_loses_nothing_more(tmp_path: Path):
    there = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", there)
    walk = benchmark(ada)
    for _ in range(2):
        record(ada, walk, 2)
        ada.publish("walk", episodes=True)
        ada.push()
    (first,) = (there / ".tupli" / "refs").rglob("00000001-*")
    first.unlink()
    bare = opened(there)
    blob(bare, b"nothing leads to this")
    assert (bare.gc(grace=NOW).lacking, bare.gc(grace=NOW).unreachable) == (1, 0)


# ---- what comes back


def test_what_was_removed_and_lies_in_the_trash_can_be_restored(lab: Lab):
    walk = benchmark(lab.who)
    (bad,) = record(lab.who, walk, 1, kept="yes")
    good = set(record(lab.who, walk, 3))
    lone = benchmark(lab.who, "lone", digest="other")
    wind = artifact(lab.who, content=b"wind")
    lab.who.remove([bad, lone, wind])
    listed = set(lab.who.removed())
    lab.who.close()
    assert lab.gc_after(DAY * 2).bytes_in_trash > 0
    assert all_ids(lab.who).isdisjoint({bad, lone, wind})
    assert set(lab.who.removed()) == listed == {*lab.opened().removed()}
    assert lab.who.status(with_remotes=False).hidden == 3
    restored = lab.who.restore([bad[:12], lone, wind])
    assert restored == [(Kind.EPISODE, bad), (Kind.BENCHMARK, lone), (Kind.ARTIFACT, wind)]
    again = lab.opened()
    assert again.removed() == []
    assert ids(again) == {bad, *good}
    (found,) = (header for header in again.list_episodes() if header.id == bad)
    assert found.metadata["kept"] == "yes"
    assert len(list(again.read_episodes([bad]))) == 1
    assert again.load_artifact(wind) == b"wind"
    assert again.load_benchmark(lone).serialized
    for _ in range(3):
        lab.gc_after(DAY * 20)
    assert ids(lab.opened()) == {bad, *good}
    assert lab.who.load_benchmark(lone).serialized


def test_an_episode_is_restored_with_the_benchmark_it_needs(lab: Lab):
    walk = benchmark(lab.who)
    (bad,) = record(lab.who, walk)
    lab.who.remove([bad, walk])
    lab.gc_after(DAY * 2)
    lab.gc_after(DAY * 2)
    lab.who.restore([bad])
    assert len(list(lab.opened().read_episodes([bad]))) == 1
    assert {oid for _, oid in lab.who.removed()} == {walk}


def test_what_is_gone_for_good_is_neither_listed_nor_restored(lab: Lab):
    lone = benchmark(lab.who, "lone")
    lab.who.remove([lone])
    lab.gc_after(DAY * 2)
    lab.gc_after(DAY * 15)
    assert lab.who.removed() == []
    with pytest.raises(NotFoundError, match="restore"):
        lab.who.restore([lone])


def test_what_needs_something_that_is_gone_stays_removed(lab: Lab):
    wind = artifact(lab.who, content=b"wind")
    (text,) = lab.who._store.read(ObjectId(wind)).links
    lab.who.remove([wind])
    lab.gc_after(DAY * 2)
    for path in lab.disk.files("/lab/.tupli/trash"):
        if path.endswith(text):
            lab.disk.remove(Path(path))
    with pytest.raises(NotFoundError, match="gone for good"):
        lab.who.restore([wind])
    assert lab.who.removed() == [(Kind.ARTIFACT, wind)]


def test_status_tells_of_the_trash_and_of_small_packs(lab: Lab):
    walk = benchmark(lab.who)
    for _ in range(3):
        record(lab.who, walk)
        lab.who.close()
    told = lab.who.status(with_remotes=False)
    assert told.mergeable_packs == 3
    report = lab.who.gc()
    told = lab.who.status(with_remotes=False)
    assert (told.mergeable_packs, told.trash_bytes) == (0, report.bytes_in_trash)
    assert 0 < told.trash_bytes < told.size_bytes


def test_what_something_leads_to_again_comes_back_from_the_trash(lab: Lab):
    lone = benchmark(lab.who, "lone")
    lab.who.remove([lone])
    assert lab.gc_after(DAY * 2).files_trashed == 2
    lab.who._shelf.tombstones.reveal([ObjectId(lone)], user="ada")
    report = lab.gc_after(DAY * 2)
    assert report.rescued == 2
    assert lab.who.load_benchmark(lone).serialized


def test_storing_again_what_is_in_the_trash_makes_it_whole(lab: Lab):
    lone = benchmark(lab.who, "lone")
    lab.who.remove([lone])
    lab.gc_after(DAY * 2)
    assert benchmark(lab.who, "lone") == lone
    assert lab.who.load_benchmark(lone).serialized


def test_the_trash_is_looked_through_before_it_is_emptied(lab: Lab):
    lone = benchmark(lab.who, "lone")
    lab.who.remove([lone])
    lab.gc_after(DAY * 2)
    lab.who._shelf.tombstones.reveal([ObjectId(lone)], user="ada")
    lab.wait(DAY * 30)
    report = lab.who.gc()
    assert (report.rescued, report.trash_removed) == (2, 0)
    assert lab.who.load_benchmark(lone).serialized
    assert lab.who.gc().trash_removed == 1


@pytest.mark.parametrize("years", [2, -2])
def test_a_clock_that_jumps_loses_nothing(lab: Lab, years: int):
    walk = benchmark(lab.who)
    recorded = set(record(lab.who, walk, 3))
    lab.who.publish("walk", episodes=True)
    garbage = blob(lab.who, b"made just now")
    lab.who.remove([*recorded])
    lab.wait(timedelta(days=365 * years))
    lab.who.gc()
    assert published(lab.who) == recorded
    assert lab.who._store.read(garbage).body == b"made just now"
    lab.wait(timedelta(days=-365 * years))
    lab.who.gc()
    assert lab.who._store.read(garbage).body == b"made just now"
    assert len(list(lab.who.read_episodes(recorded))) == 3


class Meddling(RecordingFileSystem):
    """Lets somebody else act right after the n-th file has got its name."""

    def __init__(self, n: int, act: Callable[[], None]) -> None:
        super().__init__()
        self.left, self.act = n, act

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.left -= 1
        if self.left == 0:
            self.act()


@pytest.mark.parametrize("is_new", [True, False])
def test_what_is_stored_while_somebody_cleans_without_a_grace_is_whole(
    tmp_path: Path, is_new: bool
):
    """Whether its parts were written just now, or lay about and were used again."""
    for n in range(1, 12):
        folder = tmp_path / str(n)
        first = person(folder)
        if not is_new:
            first.remove([benchmark(first), artifact(first)])

        def clean(folder: Path = folder) -> None:
            opened(folder).gc(grace=NOW)

        who = opened(folder, Meddling(n, clean))
        walk, wind = benchmark(who), artifact(who)
        again = opened(folder)
        assert again.load_benchmark(walk).serialized
        assert again.load_artifact(wind)


# ---- packs and journals


def test_small_packs_become_one(lab: Lab):
    walk = benchmark(lab.who)
    recorded = set[str]()
    for _ in range(5):
        recorded |= set(record(lab.who, walk, 2))
        lab.who.close()
    report = lab.gc_after(timedelta(hours=1))
    assert (report.packs_merged, report.packs_written) == (5, 1)
    assert len(lab.block_files()) == 1
    assert ids(lab.opened()) == recorded
    assert lab.gc_after(timedelta(hours=1)).packs_merged == 0


def test_a_dead_writers_journal_is_sealed_after_the_grace(lab: Lab):
    walk = benchmark(lab.who)
    dead = lab.opened()
    recorded = set(record(dead, walk, 2))
    abandon(dead._store)
    assert lab.gc_after(timedelta(hours=23)).journals_sealed == 0
    assert lab.gc_after(timedelta(hours=2)).journals_sealed == 1
    assert [Path(name).suffix for name in lab.block_files()] == [".pack"]
    assert ids(lab.opened()) == recorded


def test_private_files_of_the_dead_are_removed_after_a_day(lab: Lab):
    lab.disk.make_folders("/lab/.tupli/staging/" + "a" * 32)
    lab.disk.overwrite("/lab/.tupli/staging/" + "a" * 32 + "/" + "b" * 32, b"x" * 99)
    assert lab.gc_after(timedelta(hours=2), grace=NOW).staging_removed == 0
    report = lab.gc_after(DAY)
    assert (report.staging_removed, report.bytes_freed) == (1, 99)
    assert lab.stored("staging") == b""


def test_who_slept_for_long_goes_on_where_its_private_folder_was_cleaned_away(lab: Lab):
    sleeper = lab.opened()
    benchmark(sleeper)
    assert lab.gc_after(DAY * 2).staging_removed == 1
    benchmark(sleeper, "second", digest="i")
    assert len(lab.who.list_benchmarks()) == 2


# ---- telling, refusing


def test_a_dry_run_tells_and_changes_nothing(lab: Lab):
    walk = benchmark(lab.who)
    for _ in range(3):
        record(lab.who, walk, 2)
        lab.who.close()
    lab.who.remove([*ids(lab.who)][:2])
    blob(lab.who, b"g" * 1000)
    lab.wait(DAY * 2)
    lab.who.close()
    before = lab.disk.files("/lab")
    told = lab.who.gc(dry_run=True)
    assert lab.disk.files("/lab") == before
    done = lab.who.gc()
    counts = {"unreachable", "unreachable_bytes", "packs_merged", "packs_written", "files_trashed"}
    assert told.model_dump(include=counts) == done.model_dump(include=counts)
    assert told.bytes_trashed == done.bytes_trashed


def test_a_dry_run_needs_not_write(tmp_path: Path):
    who = person(tmp_path / "lab")
    blob(who, b"garbage")
    who.close()
    fs = FailingFileSystem(1, refusal(errno.EROFS))
    told = opened(tmp_path / "lab", fs).gc(grace=NOW, dry_run=True)
    assert fs.failed is not None
    assert told.unreachable == 1


def test_a_full_disk_is_no_reason_to_keep_what_is_old_in_the_trash(lab: Lab):
    walk = benchmark(lab.who)
    blob(lab.who, token_bytes(50_000))
    assert lab.gc_after(DAY * 2).files_trashed == 1
    dead = lab.opened()
    recorded = set(record(dead, walk, 3))
    abandon(dead._store)
    lab.disk.capacity_bytes = len(lab.stored())
    with pytest.raises(StorageIOError):
        lab.gc_after(DAY * 2)
    report = lab.gc_after(DAY * 15)
    assert report.bytes_freed > 50_000
    assert (report.trash_removed, report.journals_sealed) == (1, 1)
    assert ids(lab.opened()) == recorded


def test_where_not_even_the_time_can_be_asked_what_is_old_goes():
    disk = MemoryFileSystem()
    disk.make_folders("/lab")
    full = FailingFileSystem(0, full_disk(), lasting=True, inner=disk)
    who = Repository.init("/lab", fs=full)
    blob(who, b"garbage")
    who.gc(grace=NOW)
    disk.now_ns += 15 * 24 * 3600 * 10**9
    blob(who, b"the last change")
    disk.make_folders("/lab/.tupli/staging/" + "a" * 32)
    full.fail_at(1)
    assert who.gc().trash_removed == 1
    full.heal()


def test_progress_is_told(lab: Lab):
    told = list[str]()
    blob(lab.who, b"garbage")
    lab.wait(DAY * 2)
    lab.who.gc(on_progress=lambda now: told.append(now.doing))
    assert told == ["marking what is reachable", "moving loose objects"]


def test_a_negative_grace_is_refused(lab: Lab):
    with pytest.raises(InvalidInputError):
        lab.who.gc(grace=-DAY)


def test_who_cleans_at_the_same_time_is_told(tmp_path: Path):
    who = person(tmp_path / "ada")
    with cleaning(who._files), pytest.raises(LockedError):
        opened(tmp_path / "ada").gc()
    who.gc()


@pytest.mark.parametrize("where", ["trailer", "record", "journal", "loose"])
def test_damage_stops_it_before_anything_is_moved(tmp_path: Path, where: str):
    who = person(tmp_path / "ada")
    walk = benchmark(who)
    record(who, walk, 2)
    who.close()
    who.remove([artifact(who)])
    (path,) = (who.root / "packs").glob("*.pack")
    at = path.stat().st_size - 60
    if where == "record":
        at = PackFile(who._files, path).directory.blocks[-1].end - 5
    elif where == "journal":
        dead = opened(tmp_path / "ada")
        record(dead, walk, 2)
        abandon(dead._store)
        (path,) = (who.root / "packs").glob("*.journal")
        at = 40
    elif where == "loose":
        path, at = loose_path(tmp_path / "ada", ObjectId(walk)), 5
    data = path.read_bytes()
    overwrite(path, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    before = {one for one in who.root.rglob("*/*") if one.is_file() and "locks" not in one.parts}
    with pytest.raises(CorruptObjectError, match="damaged") as err:
        opened(tmp_path / "ada").gc(grace=NOW)
    assert "tupli fsck --repair" in err.value.hint
    after = {one for one in who.root.rglob("*/*") if one.is_file() and "locks" not in one.parts}
    assert after == before


def test_a_damaged_ref_stops_it(tmp_path: Path):
    who = person(tmp_path / "ada")
    record(who, benchmark(who))
    who.publish("walk", episodes=True)
    (ref,) = (path for path in (who.root / "refs").rglob("*-*") if path.is_file())
    overwrite(ref, ref.read_bytes()[:-5])
    before = all_ids(who)
    with pytest.raises(CorruptObjectError, match="damaged"):
        opened(tmp_path / "ada").gc(grace=NOW)
    who._store.refresh()
    assert set(who._store.ids()) == before


# ---- by itself


def test_many_small_packs_are_merged_after_a_batch_and_nothing_is_swept(tmp_path: Path):
    who = person(tmp_path / "ada")
    walk = benchmark(who)
    garbage = blob(who, b"garbage")
    for _ in range(63):
        who.record_episode(episode(walk))
        who.close()
    before = ids(who)
    assert len(list((who.root / "packs").iterdir())) == 63
    who.record_episode(episode(walk))
    who.close()
    with who.batch():
        pass
    assert len(list((who.root / "packs").iterdir())) == 1
    assert before < ids(opened(tmp_path / "ada"))
    assert garbage in all_ids(who)


def test_a_merge_that_fails_costs_the_verb_nothing(tmp_path: Path):
    who = person(tmp_path / "ada")
    walk = benchmark(who)
    for _ in range(64):
        who.record_episode(episode(walk))
        who.close()
    packs = sorted((who.root / "packs").iterdir())
    overwrite(packs[0], packs[0].read_bytes()[:-1])
    with opened(tmp_path / "ada").batch():
        pass
    with cleaning(who._files), who.batch():
        pass
    assert sorted((who.root / "packs").iterdir()) == packs


def test_a_push_leaves_a_drive_tidy(tmp_path: Path):
    there = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", there)
    sent = set(record(ada, benchmark(ada), 2))
    ada.publish("walk", episodes=True)
    for n in range(63):
        write_pack(opened(there)._files, [sample(n)])
    ada.push()
    assert len(list((there / ".tupli" / "packs").iterdir())) == 1
    bare = opened(there)
    assert published(bare) == sent
    assert {id_of(sample(n)) for n in range(63)} < all_ids(bare)
