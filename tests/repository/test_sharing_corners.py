"""What others made by hand, and where people slip: one bad name, one clear word, nothing lost."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.odb.samples import reopen
from tests.repository.people import benchmark, ids_in, person, published, record
from tupli_repo.cli import run
from tupli_repo.codec.records import ReleaseBody, TombstoneBody, parse_body
from tupli_repo.errors import InvalidInputError, NotFoundError, RepositoryNotFoundError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.refs import Record, RefName, RefStore, Yank
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository import Repository
from tupli_repo.repository.published.sets import digest_of

EVIL = RefName("global", "benchmark", "evil")
Forge = Callable[["Forger"], None]


class Forger:
    """Writes to a drive whatever it likes; its release lies in one thing."""

    def __init__(self, hub: Path) -> None:
        self._refs = RefStore(RepositoryFiles(hub / ".tupli"))
        self._refs.refresh()
        self.store: ObjectStore = reopen(hub)
        self.store.refresh()
        honest = self._refs.records(RefName("global", "benchmark", "walk"))
        release = self.store.read(next(iter(honest.values())).release)
        self._body = parse_body(ReleaseBody, release.body)
        self.links = release.links
        self.episodes = self.store.read(release.links[-1]).links

    def write(self, kind: Kind, body: bytes = b"{}", links: tuple[ObjectId, ...] = ()) -> ObjectId:
        return self.store.write(Object(kind=kind, links=links, body=body))

    def tombstone(self) -> ObjectId:
        body = TombstoneBody(
            repository="r", hides=[self.links[0]], created_by="m", created_at="t", nonce="n"
        )
        return self.write(Kind.TOMBSTONE, body.dump())

    def set_of(self, *members: ObjectId) -> ObjectId:
        return self.write(Kind.EPISODES, b"", tuple(sorted(members)))

    def body_of(self, *episodes: ObjectId, name: RefName, **fields: object) -> bytes:
        made = {
            "n_provenance": 0,
            "n_episodes": len(episodes),
            "digest": digest_of(bytes.fromhex(oid) for oid in episodes),
            **name._asdict(),
            **fields,
        }
        return self._body.model_copy(update=made).dump()

    def release(
        self,
        *links: ObjectId,
        name: RefName = EVIL,
        of: tuple[ObjectId, ...] = (),
        **fields: object,
    ) -> None:
        """Publish: links as they are, with the counts of one benchmark and one set."""
        body = self.body_of(*(of or self.episodes), name=name, **fields)
        self._refs.put(Record(name, 1, (), self.write(Kind.RELEASE, body, links)))


def bad_benchmark(m: Forger) -> None:
    m.release(m.write(Kind.BENCHMARK, links=m.links[:1]), m.links[-1])


def benchmark_without_environment(m: Forger) -> None:
    m.release(m.write(Kind.BENCHMARK, m.store.read(m.links[0]).body), m.links[-1])


def blob_for_a_benchmark(m: Forger) -> None:
    m.release(m.write(Kind.BLOB), m.links[-1])


def bad_provenance(m: Forger) -> None:
    m.release(m.links[0], m.write(Kind.PROVENANCE), m.links[-1], n_provenance=1)


def bad_artifact(m: Forger) -> None:
    m.release(m.links[0], m.write(Kind.ARTIFACT), m.links[-1], n_artifacts=1)


def bad_episode(m: Forger) -> None:
    links = m.store.read(m.episodes[0]).links
    one = m.write(Kind.EPISODE, b"[]", links)
    m.release(m.links[0], m.set_of(one), of=(one,))


def episode_of_nothing(m: Forger) -> None:
    one = m.write(Kind.EPISODE, m.store.read(m.episodes[0]).body)
    m.release(m.links[0], m.set_of(one), of=(one,))


def episode_of_impossible_lengths(m: Forger) -> None:
    """All else is as in an honest one, which comes along."""
    honest = m.store.read(m.episodes[0])
    body = json.loads(honest.body) | {"lengths": {"actions": 7}}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    one = m.write(Kind.EPISODE, text.encode(), honest.links)
    m.release(m.links[0], m.set_of(m.episodes[0], one), of=(m.episodes[0], one))


def episode_with_a_benchmark_for_a_blob(m: Forger) -> None:
    honest = m.store.read(m.episodes[0])
    one = m.write(Kind.EPISODE, honest.body, (*honest.links[:2], m.links[0]))
    m.release(m.links[0], m.set_of(one), of=(one,))


def blob_for_an_episode(m: Forger) -> None:
    one = m.write(Kind.BLOB, b"no episode")
    m.release(m.links[0], m.set_of(one), of=(one,))


def tombstone_for_a_benchmark(m: Forger) -> None:
    m.release(m.tombstone(), m.links[-1])


def tombstone_below_a_benchmark(m: Forger) -> None:
    honest = m.store.read(m.links[0])
    m.release(m.write(Kind.BENCHMARK, honest.body, (*honest.links, m.tombstone())), m.links[-1])


def tombstone_for_an_episode(m: Forger) -> None:
    one = m.tombstone()
    m.release(m.links[0], m.set_of(one), of=(one,))


def other_count(m: Forger) -> None:
    m.release(m.links[0], m.links[-1], n_episodes=7)


def other_digest(m: Forger) -> None:
    m.release(m.links[0], m.links[-1], digest="a" * 64)


def artifact_of_nothing(m: Forger) -> None:
    name = RefName("global", "artifact", "evil")
    m.release(name=name, n_benchmarks=0, n_episodes=0, digest=digest_of([]))


FORGERIES = [
    bad_benchmark,
    benchmark_without_environment,
    blob_for_a_benchmark,
    bad_provenance,
    bad_artifact,
    bad_episode,
    episode_of_nothing,
    episode_of_impossible_lengths,
    episode_with_a_benchmark_for_a_blob,
    blob_for_an_episode,
    tombstone_for_a_benchmark,
    tombstone_below_a_benchmark,
    tombstone_for_an_episode,
    other_count,
    other_digest,
    artifact_of_nothing,
]


@pytest.fixture
def ada(ada: Repository) -> Repository:
    """Has pushed what she published."""
    ada.push()
    return ada


@pytest.fixture
def bob(tmp_path: Path, hub: Path) -> Repository:
    """Has published something of his own."""
    found = person(tmp_path / "bob", hub)
    record(found, benchmark(found, "run", digest="r"), 2)
    found.publish("run", episodes=True)
    return found


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_a_forged_name_is_left_out_and_everything_else_arrives_and_can_be_read(
    forge: Forge, ada: Repository, bob: Repository, hub: Path
) -> None:
    forge(Forger(hub))
    report = bob.pull()
    (line,) = report.damaged
    assert "evil' was left out" in line
    assert [item.name for item in bob.names()] == ["run", "walk"]
    assert published(bob) == published(ada)
    assert len(bob.list_benchmarks()) == 2
    assert len(bob.list_episodes()) == 5
    assert bob.publish("run", message="again").n_new == 1
    one = min(published(bob, "run"))
    assert bob.unpublish(one).n_withdrawn == 1
    assert not bob.push().incomplete


def test_what_is_damaged_here_keeps_nobody_from_taking_back_their_own(
    ada: Repository, bob: Repository, hub: Path
) -> None:
    other_count(Forger(hub))
    for folder in ("objects", "packs", "refs"):  # by hand, as rsync does
        for file in (hub / ".tupli" / folder).rglob("*"):
            target = bob.root / file.relative_to(hub / ".tupli")
            if file.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    one = min(published(bob, "run"))
    assert bob.unpublish(one).n_withdrawn == 1


def test_a_revision_whose_benchmark_is_none_cannot_be_published_elsewhere(
    ada: Repository, hub: Path
) -> None:
    forger = Forger(hub)
    blob_for_a_benchmark(forger)
    found = Repository(hub)
    with pytest.raises(NotFoundError, match="names no benchmark"):
        found.publish("evil", group="other")


def test_a_revision_is_not_pushed_alone_and_the_hint_says_what_is(ada: Repository) -> None:
    with pytest.raises(InvalidInputError, match="one revision") as err:
        ada.push(names=["walk@1"])
    assert "'global/benchmark/walk'" in err.value.hint


def test_a_bundle_wants_a_folder_that_is_there(ada: Repository, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="there is no folder"):
        ada.bundle(["walk"], tmp_path / "nowhere" / "walk.zip")


def test_a_path_in_a_hint_can_be_typed_as_it_stands(ada: Repository, tmp_path: Path) -> None:
    place = tmp_path / "my drive"
    ada.add_remote("gone", place)
    with pytest.raises(RepositoryNotFoundError) as err:
        ada.push("gone")
    assert f"--bare '{place}'" in err.value.hint


def test_a_remote_the_system_refuses_to_look_at_is_told_beside_the_others(
    ada: Repository, tmp_path: Path
) -> None:
    ada.add_remote("odd", tmp_path / ("n" * 300))
    odd, origin = sorted(ada.status().remotes, key=lambda remote: remote.name)
    assert "name too long" in odd.error
    assert not origin.error


def test_what_others_wrote_is_shown_and_does_nothing_to_the_terminal(
    ada: Repository,
    bob: Repository,
    hub: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    forger = Forger(hub)
    evil = "\x1b]0;owned\x07 \x9b31m \u202egnp"
    forger.release(*forger.links[:1], forger.links[-1], message=evil, created_by=evil)
    bob.pull()
    monkeypatch.chdir(bob.root.parent)
    told = []
    for words in (["log"], ["log", "evil"], ["show", "evil"], ["log", "evil", "--json"]):
        assert run(words) == 0
        told.append(capfd.readouterr().out)
        assert "owned" in told[-1]
        assert not {"\x1b", "\x07", "\x9b", "\u202e"}.intersection(told[-1])
    (item,) = json.loads(told[-1])
    assert item["message"] == evil


def test_what_cannot_be_yanked_is_refused_as_the_help_says(
    ada: Repository, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ada.unpublish(min(published(ada)))
    monkeypatch.chdir(ada.root.parent)
    assert run(["yank", "--help"]) == 0
    assert "2 not one that can be yanked" in " ".join(capfd.readouterr().out.split())
    assert run(["yank", "walk@2"]) == 2
    assert run(["yank", "walk@9"]) == 1


# ---- take-backs and unions that nobody made


WALK = RefName("global", "benchmark", "walk")


def test_a_yank_by_hand_brings_back_nothing_that_was_taken_back(
    ada: Repository, hub: Path, tmp_path: Path
) -> None:
    gone = min(published(ada))
    ada.unpublish("walk", episodes=[gone])
    ada.push()
    refs = RefStore(RepositoryFiles(hub / ".tupli"))
    refs.refresh()
    for record_of in refs.records(WALK).values():
        if record_of.generation == 2:
            refs.put_yank(record_of, Yank(created_at="t", created_by="mallory"))
    ada.pull()
    assert gone not in published(ada)
    assert [item.yanked for item in ada.log("walk")] == [None, None]
    assert gone not in published(Repository.clone(hub, tmp_path / "cyd"))


def test_a_union_that_is_not_what_it_unites_is_left_out(
    ada: Repository, hub: Path, tmp_path: Path
) -> None:
    mallory = Forger(hub)
    refs = RefStore(RepositoryFiles(hub / ".tupli"))
    refs.refresh()
    (honest,) = refs.records(WALK)
    few = mallory.set_of(mallory.episodes[0])
    for fields, more in (({}, ()), ({"n_withdrawn": 1}, (mallory.episodes[1],))):
        blobs = tuple(mallory.write(Kind.BLOB, bytes.fromhex(oid)) for oid in more)
        made = mallory.body_of(mallory.episodes[0], name=WALK, created_by="", **fields)
        release = mallory.write(Kind.RELEASE, made, (mallory.links[0], few, *blobs))
        refs.put(Record(WALK, 2, (honest,), release))
    before = published(ada)
    report = ada.pull()
    assert "it is not what it unites" in report.damaged[0]
    assert published(ada) == before


def test_a_private_episode_that_others_name_is_not_sent(
    ada: Repository, hub: Path, tmp_path: Path
) -> None:
    (private,) = record(ada, ada.list_benchmarks()[0].id, 1)
    mallory = Forger(hub)
    wanted = mallory.set_of(ObjectId(private))
    mallory.release(mallory.links[0], wanted, of=(ObjectId(private),))
    ada.push()
    assert private not in ids_in(hub, Kind.EPISODE)


def test_a_set_that_lists_something_else_that_is_here_is_left_out(
    ada: Repository, hub: Path
) -> None:
    mallory = Forger(hub)
    wrong = mallory.set_of(mallory.links[0])
    mallory.release(mallory.links[0], wrong, of=(mallory.links[0],))
    report = ada.pull()
    assert "it is of kind 'benchmark'" in report.damaged[0]
    assert [item.name for item in ada.names()] == ["walk"]


def test_what_somebody_removed_stays_where_their_files_are_copied_to_by_hand(tmp_path: Path):
    with person(tmp_path / "ada") as ada:
        walk = benchmark(ada)
        (lent,) = record(ada, walk)
    shutil.copytree(tmp_path / "ada", tmp_path / "bob")
    (tmp_path / "bob" / ".tupli" / "format.json").unlink()
    with person(tmp_path / "else") as other:
        number = other.root / "format.json"
    shutil.copy(number, tmp_path / "bob" / ".tupli" / "format.json")  # a repository of its own
    with Repository(tmp_path / "bob") as bob:
        bob.remove([lent])
        assert bob.list_episodes() == []
    for path in (tmp_path / "bob" / ".tupli" / "objects").rglob("*"):
        if path.is_file():
            copy = tmp_path / "ada" / path.relative_to(tmp_path / "bob")
            if not copy.exists():
                shutil.copy(path, copy)
    with Repository(tmp_path / "ada") as ada:
        assert [header.id for header in ada.list_episodes()] == [lent]
        ada.gc(grace=timedelta(0))
        assert [header.id for header in ada.list_episodes()] == [lent]
        ada.remove([lent])
        assert ada.list_episodes() == []
