"""Push, pull, clone: what goes where, and what stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import Call, RecordingFileSystem
from tests.repository.people import (
    SECRET,
    artifact,
    benchmark,
    files_in,
    ids_in,
    opened,
    person,
    published,
    record,
    revisions,
    tells,
)
from tupli_repo.errors import (
    ConflictError,
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
    RepositoryExistsError,
    RepositoryNotFoundError,
)
from tupli_repo.odb.objects import Kind
from tupli_repo.odb.pack import TRAILER_BYTES, tail_start
from tupli_repo.odb.sync import Progress
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ
from tupli_repo.schema.transfers import TransferReport
from tupli_repo.storage import FileStorage


def pushed(who: Repository) -> Repository:
    who.push()
    return who


# ---- the usual day


def test_what_one_pushes_another_clones(tmp_path, hub, ada):
    plans: list[TransferReport] = []
    report = ada.push(on_plan=plans.append)
    (walk,) = report.names
    assert (walk.name, walk.group, walk.n_revisions, walk.n_episodes) == ("walk", "global", 1, 3)
    assert report.is_clean
    assert plans[0].names == report.names
    assert plans[0].bytes_written == 0 < report.bytes_written
    bob = Repository.clone(hub, tmp_path / "bob")
    assert published(bob) == published(ada)
    assert revisions(bob) == revisions(ada)
    assert [h.published_in for h in bob.episode_headers()] == [["global"]] * 3
    assert bob.remotes()[0].url == str(hub)


def test_who_publishes_at_the_same_time_is_united_without_a_word(tmp_path, hub, ada):
    pushed(ada)
    bob = Repository.clone(hub, tmp_path / "bob")
    record(bob, bob.list_benchmarks()[0].id, 2)
    bob.publish("walk", episodes=True)
    bob.push()
    record(ada, ada.list_benchmarks()[0].id, 4)
    ada.publish("walk", episodes=True)
    before = files_in([ada.root])
    assert ada.push().is_clean
    assert files_in([ada.root]) == before  # a push writes nothing at home
    ada.pull()
    bob.pull()
    cyd = Repository.clone(hub, tmp_path / "cyd")
    assert len(published(ada)) == 9
    assert published(ada) == published(bob) == published(cyd)
    assert revisions(ada) == revisions(bob) == revisions(cyd)
    for who in (ada, bob, cyd):
        assert who.release("walk").digest == ada.release("walk").digest
        assert [report.n_objects for report in who.sync()] == [0, 0]


def test_another_benchmark_of_that_name_is_a_conflict_that_both_sides_keep(tmp_path, hub, ada):
    bob = person(tmp_path / "bob", hub)
    benchmark(bob, description="another", digest="other")
    bob.publish("walk")
    pushed(ada)
    report = bob.push()
    assert report.diverged == ("global/benchmark/walk",)
    assert not report.is_clean
    assert bob.pull().diverged == ("global/benchmark/walk",)
    other = benchmark(bob, description="another", digest="other")
    with pytest.raises(ConflictError, match="has diverged"):
        bob.publish(other)
    bob.publish(other, as_next=True)
    assert bob.push().is_clean
    ada.pull()
    assert ada.release("walk").revision == bob.release("walk").revision


def test_only_some_names_are_exchanged_when_they_are_named(tmp_path, hub, ada):
    record(ada, benchmark(ada, "run", digest="r"), 2)
    ada.publish("run", episodes=True, group="lab")
    assert [one.name for one in ada.push(names=["lab/run"]).names] == ["run"]
    assert {item.name for item in opened(hub).names()} == {"run"}
    ada.push()
    bob = person(tmp_path / "bob", hub)
    assert [one.name for one in bob.pull(names=["walk"]).names] == ["walk"]
    assert {item.name for item in bob.names()} == {"walk"}
    with pytest.raises(NotFoundError, match="nothing is published as 'nothing'"):
        bob.pull(names=["nothing"])
    with pytest.raises(NotFoundError, match="nothing is published as 'nothing'"):
        ada.push(names=["nothing"])
    with pytest.raises(NotFoundError):
        bob.sync(names=["nothing"])
    assert [r.verb for r in bob.sync(names=["run"])] == ["pull", "push"]


def test_a_dry_run_tells_and_does_nothing(tmp_path, hub, ada):
    before = files_in([hub, ada.root])
    report = ada.push(dry_run=True)
    assert (report.n_episodes, report.bytes_written, report.dry_run) == (3, 0, True)
    assert files_in([hub, ada.root]) == before
    pushed(ada)
    bob = person(tmp_path / "bob", hub)
    at_bobs = files_in([bob.root])
    for told in (bob.pull(dry_run=True), bob.fetch(dry_run=True), bob.sync(dry_run=True)[0]):
        assert told.n_episodes == 3
    assert files_in([bob.root]) == at_bobs


def test_fetch_brings_and_pull_unites(tmp_path, hub, ada):
    bob = person(tmp_path / "bob", hub)
    record(bob, benchmark(bob), 1)
    bob.publish("walk", episodes=True)
    pushed(ada)
    bob.fetch()
    assert len(bob.names()[0].current) == 2
    assert bob.pull().n_objects == 0
    assert len(published(bob)) == 4


def test_pytupli_s_storage_is_cloned_as_well(tmp_path, hub, ada):
    pushed(ada)
    storage = FileStorage.clone(hub, tmp_path / "bob")
    assert isinstance(storage, FileStorage)
    assert len(storage.list_episodes()) == 3
    storage.close()
    FileStorage.init(tmp_path / "new").close()


def test_progress_is_told_to_the_end(tmp_path, hub, ada):
    seen: list[Progress] = []
    ada.push(on_progress=seen.append)
    assert [one.objects_done for one in seen] == sorted(one.objects_done for one in seen)
    assert seen[-1].objects_done == seen[-1].objects > 0
    assert seen[-1].bytes_done == seen[-1].bytes


def test_artifacts_travel_alone_and_with_their_benchmark(tmp_path, hub, ada):
    wind = artifact(ada, content=b"x" * 10_000)
    ada.publish(wind)
    pushed(ada)
    bob = Repository.clone(hub, tmp_path / "bob")
    assert bob.load_artifact(wind) == b"x" * 10_000
    assert bob.release("wind").artifacts == (wind,)


# ---- what stays


def test_nothing_unpublished_leaves(hub, ada):
    walk = ada.list_benchmarks()[0].id
    record(ada, walk, 5, note=SECRET)
    hidden = record(ada, walk, 1, note=SECRET)
    ada.remove(hidden)
    benchmark(ada, "secret", description=SECRET, digest="s")
    artifact(ada, SECRET, SECRET.encode())
    ada.pin("mine", [header.id for header in ada.episode_headers()], message=SECRET)
    pushed(ada)
    assert not tells(hub, SECRET)
    assert ids_in(hub, Kind.EPISODE) == published(ada)
    assert len(ids_in(hub, Kind.BENCHMARK, Kind.ARTIFACT)) == 1
    assert not ids_in(hub, Kind.TOMBSTONE)
    assert not list((hub / ".tupli" / "refs").glob("local*"))
    ada.unpublish("walk")
    ada.push()
    assert ada.log("mine")[0].group == "local"


def test_what_was_taken_back_is_hidden_by_push_and_removed_by_prune(tmp_path, hub, ada):
    walk = ada.list_benchmarks()[0].id
    record(ada, walk, 2, note=SECRET)
    ada.publish("walk", episodes=True)
    pushed(ada)
    bob = Repository.clone(hub, tmp_path / "bob")
    ada.unpublish("walk", episodes=FilterEQ(key="metadata.note", value=SECRET))
    assert ada.push().is_clean
    assert tells(hub, SECRET)  # older revisions are citable
    assert len(opened(hub).episode_headers()) == 3
    assert ada.push(prune=True, dry_run=True).n_pruned == 2
    assert tells(hub, SECRET)
    assert ada.push(prune=True).n_pruned == 2
    assert not tells(hub, SECRET)
    assert ada.push(prune=True).n_pruned == 0
    bob.pull()
    assert len(published(bob)) == 3
    assert bob.push().n_objects == 0  # bob still has them, and they stay away
    assert not tells(hub, SECRET)
    cyd = Repository.clone(hub, tmp_path / "cyd")
    assert published(cyd) == published(ada) == published(bob)
    assert len(cyd.log("walk")) == 3


def test_what_only_an_older_version_has_can_be_taken_back(hub, ada):
    first = min(published(ada))
    ada.publish(benchmark(ada, digest="two", version="2"))
    pushed(ada)
    assert published(ada) == set()
    assert ada.unpublish("walk", episodes=[first]).n_withdrawn == 1
    with pytest.raises(NotFoundError, match="is not published"):
        ada.unpublish("walk", episodes=[first])
    with pytest.raises(NotFoundError, match="is not published"):
        ada.unpublish(first)
    assert ada.push(prune=True).n_pruned == 1
    assert first not in ids_in(hub, Kind.EPISODE)


def test_what_was_published_and_taken_back_before_the_push_never_leaves(hub, ada):
    ids = record(ada, ada.list_benchmarks()[0].id, 1, note=SECRET)
    ada.publish("walk", episodes=True)
    ada.unpublish("walk", episodes=ids)
    assert ada.push().is_clean
    assert not tells(hub, SECRET)


def test_what_one_removed_stays_hidden_when_it_comes_again(tmp_path, hub, ada):
    pushed(ada)
    bob = Repository.clone(hub, tmp_path / "bob")
    one = min(published(bob))
    bob.remove([one])
    bob.pull()
    assert len(bob.episode_headers()) == 2
    bob.push()
    assert len(published(ada)) == len(opened(hub).episode_headers()) == 3


def test_a_pin_is_shared_when_it_is_published_and_not_before(tmp_path, hub, ada):
    ids = sorted(published(ada))[:2]
    pin = ada.pin("figure", ids)
    pushed(ada)
    assert {item.kind for item in opened(hub).names()} == {"benchmark"}
    ada.publish("figure")
    pushed(ada)
    bob = Repository.clone(hub, tmp_path / "bob", expect=pin.digest)
    assert bob.release("figure").digest == pin.digest
    assert published(bob, "figure") == set(ids)


# ---- little work


def on_the_drive(fs: RecordingFileSystem, hub: Path, *names: str) -> list[Call]:
    return [call for call in fs.calls if call.name in names and hub in call.path.parents]


def test_pushing_again_with_nothing_new_moves_nothing(tmp_path, hub, ada):
    pushed(ada)
    before = files_in([hub])
    fs = RecordingFileSystem()
    report = opened(ada.root.parent, fs).push()
    assert (report.n_objects, report.bytes_written, report.names) == (0, 0, ())
    assert files_in([hub]) == before
    assert not on_the_drive(fs, hub, "create", "write", "rename", "link")


class _ReadingFileSystem(RecordingFileSystem):
    """Keeps where files were read."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[Path, int, int]] = []

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.ranges.append((self._paths[descriptor], offset, size))
        return super().read(descriptor, size, offset)


def tail_of(pack: Path) -> int:
    """Where a pack's directory begins."""
    data = pack.read_bytes()
    return tail_start(data[-TRAILER_BYTES:], len(data))


@pytest.mark.parametrize("cached", [True, False])
def test_ten_episodes_more_on_a_drive_with_ten_thousand_are_four_files(
    tmp_path, hub, ada, cached, monkeypatch
):
    walk = ada.list_benchmarks()[0].id
    record(ada, walk, 10_000)
    ada.publish("walk", episodes=True)
    pushed(ada)
    record(ada, walk, 10)
    ada.publish("walk", episodes=True)
    if not cached:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new cache"))
    fs = _ReadingFileSystem()
    report = opened(ada.root.parent, fs).push()
    assert (report.n_episodes, report.is_clean) == (10, True)
    made = [call.path for call in on_the_drive(fs, hub, "rename", "link")]
    assert len(made) <= 4
    packs = {path: tail_of(path) for path in (hub / ".tupli" / "packs").iterdir()}
    assert not [path for path, offset, _ in fs.ranges if path in packs if offset < packs[path]]
    if cached:
        assert not [path for path, _, _ in fs.ranges if path in packs]


# ---- remotes and clones


def test_remotes_are_named_listed_renamed_and_forgotten(tmp_path, hub):
    ada = person(tmp_path / "ada")
    with pytest.raises(NotFoundError, match="there is no remote here"):
        ada.push()
    ada.add_remote("lab-drive", hub)
    assert [(r.name, r.url) for r in ada.remotes()] == [("lab-drive", str(hub))]
    ada.push()  # the only one there is
    ada.rename_remote("lab-drive", "drive")
    ada.add_remote("second", tmp_path / "second")
    with pytest.raises(InvalidInputError, match="there are several remotes"):
        ada.push()
    with pytest.raises(InvalidInputError, match="there is a remote 'drive' already"):
        ada.add_remote("drive", hub)
    with pytest.raises(InvalidInputError, match="cannot be the name of a remote"):
        ada.add_remote("a.b", hub)
    with pytest.raises(InvalidInputError, match="no way to 'ssh' yet"):
        ada.add_remote("far", "ssh://host/path")
    with pytest.raises(RepositoryNotFoundError, match="there is no repository in"):
        ada.push("second")
    ada.remove_remote("second")
    with pytest.raises(NotFoundError, match="there is no remote 'second' here"):
        ada.remove_remote("second")
    assert [r.name for r in opened(tmp_path / "ada").remotes()] == ["drive"]
    ada.push(str(hub))  # a path will do


def test_a_repository_is_no_remote_of_itself(ada):
    ada.add_remote("me", ada.root.parent)
    with pytest.raises(InvalidInputError, match="is this repository itself"):
        ada.push("me")


def test_one_can_pull_from_a_colleague_s_repository(tmp_path, ada):
    record(ada, ada.list_benchmarks()[0].id, 1, note=SECRET)
    ada.pin("mine", [header.id for header in ada.episode_headers()])
    bob = person(tmp_path / "bob", ada.root.parent)
    bob.pull()
    assert published(bob) == published(ada)
    assert [item.name for item in bob.names()] == ["walk"]
    assert not tells(bob.root.parent, SECRET)


def test_a_clone_goes_where_nothing_is(tmp_path, hub, ada, monkeypatch):
    pushed(ada)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(RepositoryExistsError, match="there is a repository in"):
        Repository.clone(hub, person(tmp_path / "bob", ada.root.parent).root.parent)
    with pytest.raises(RepositoryNotFoundError, match="there is no repository in"):
        Repository.clone(tmp_path / "nowhere", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    monkeypatch.chdir(tmp_path / "here")
    assert Repository.clone(hub).root.parent == tmp_path / "here" / "drive"
    mirror = Repository.clone(hub, tmp_path / "mirror", bare=True)
    assert mirror.format.role == "bare"
    assert ids_in(tmp_path / "mirror") == ids_in(hub)


def test_a_clone_that_is_not_what_was_expected_makes_nothing(tmp_path, hub, ada):
    pushed(ada)
    for wrong in ("0" * 64, "walk@" + "0" * 12):
        with pytest.raises(CorruptObjectError, match="does not hold"):
            Repository.clone(hub, tmp_path / "bob", expect=wrong)
    with pytest.raises(InvalidInputError, match="too short"):
        Repository.clone(hub, tmp_path / "bob", expect="abc")
    assert not (tmp_path / "bob").exists()
    item = ada.release("walk")
    for n, right in enumerate((item.digest, item.digest[:12], f"walk@{item.revision[:12]}")):
        Repository.clone(hub, tmp_path / f"bob {n}", expect=right)


def test_a_bundle_is_a_repository_in_one_file(tmp_path, hub, ada):
    pin = ada.pin("figure", sorted(published(ada))[:2])
    file = tmp_path / "figure.tupli"
    with pytest.raises(InvalidInputError, match="is a pin that is not shared"):
        ada.bundle(["figure"], file)
    ada.publish("figure")
    record(ada, ada.list_benchmarks()[0].id, 1, note=SECRET)
    plan = ada.bundle(["figure"], file, dry_run=True)
    assert (plan.n_episodes, plan.dry_run, file.exists()) == (2, True, False)
    report = ada.bundle(["figure"], file)
    assert (report.n_episodes, report.bytes_written) == (2, file.stat().st_size)
    assert [path.name for path in tmp_path.iterdir() if "figure" in path.name] == ["figure.tupli"]
    with pytest.raises(RepositoryExistsError, match="there is a file"):
        ada.bundle(["figure"], file)
    assert Repository.plan_clone(file, expect=pin.digest).n_episodes == 2
    bob = Repository.clone(file, tmp_path / "bob", expect=pin.digest)
    assert published(bob, "figure") == published(ada, "figure")
    assert not tells(tmp_path / "bob", SECRET)
    with pytest.raises(CorruptObjectError, match="does not hold"):
        Repository.clone(file, tmp_path / "cyd", expect="0" * 64)


def test_what_was_taken_back_is_in_no_bundle(tmp_path, ada):
    ids = record(ada, ada.list_benchmarks()[0].id, 1, note=SECRET)
    ada.publish("walk", episodes=True)
    ada.unpublish("walk", episodes=ids)
    with pytest.raises(InvalidInputError, match="has episodes that were taken back"):
        ada.bundle(["walk@2"], tmp_path / "two.zip")
    ada.publish(benchmark(ada, digest="two", version="2"))
    first = min(published(ada, "walk@1"))
    ada.unpublish("walk", episodes=[first])
    ada.bundle(["walk@4"], tmp_path / "four.zip")  # what it follows had the first one
    assert first not in ids_in(
        Repository.clone(tmp_path / "four.zip", tmp_path / "four").root.parent
    )
    ada.bundle(["walk"], tmp_path / "three.zip")
    bob = Repository.clone(tmp_path / "three.zip", tmp_path / "bob")
    assert published(bob) == published(ada)
    assert not tells(tmp_path / "bob", SECRET)


# ---- status


def test_status_tells_what_is_not_published_not_pushed_and_not_pulled(tmp_path, hub, ada):
    walk = ada.list_benchmarks()[0].id
    record(ada, walk, 2)
    artifact(ada)
    told = ada.status()
    assert (told.unpublished_episodes, told.unpublished_artifacts) == (2, 1)
    assert told.unpublished_benchmarks == 0
    assert told.remotes[0].unpushed == ("global/benchmark/walk",)
    pushed(ada)
    assert ada.status().remotes[0].unpushed == ()
    bob = person(tmp_path / "bob", hub)
    assert bob.status().remotes[0].unpulled == ("global/benchmark/walk",)
    bob.add_remote("gone", tmp_path / "nowhere")
    (gone,) = [r for r in bob.status().remotes if r.name == "gone"]
    assert "there is no repository" in gone.error
    assert bob.status(with_remotes=False).remotes == ()


# ---- by hand


def copied(source: Path, target: Path, only: Callable[[Path], bool] = lambda _: True) -> None:
    """Copy objects and packs as rsync does, those that are chosen."""
    for folder in ("objects", "packs"):
        for path in sorted((source / ".tupli" / folder).rglob("*")):
            there = target / ".tupli" / path.relative_to(source / ".tupli")
            if path.is_file() and not there.exists() and only(path):
                there.parent.mkdir(exist_ok=True)
                there.write_bytes(path.read_bytes())


def test_objects_and_packs_that_are_copied_by_hand_appear(tmp_path, ada):
    ada.close()
    bob = person(tmp_path / "bob")
    copied(ada.root.parent, tmp_path / "bob", lambda path: path.suffix == ".pack")
    assert bob.episode_headers() == []  # what they need has not arrived
    assert bob.status().pending == 3
    copied(ada.root.parent, tmp_path / "bob")
    assert {header.id for header in bob.episode_headers()} == published(ada)
    assert bob.status().pending == 0
