"""The verbs about names, on a whole repository."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.envs import Walk, Windy, WindyWrapper, play, stored
from tests.faults import HastyFileSystem, Killed, RecordingFileSystem, each_step
from tests.odb.samples import abandon
from tupli_repo.codec.episode import Steps
from tupli_repo.errors import (
    AmbiguousNameError,
    ConflictError,
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
)
from tupli_repo.repository import Repository
from tupli_repo.schema import (
    ArtifactMetadata,
    BenchmarkMetadata,
    BenchmarkQuery,
    FilterEQ,
    FilterGEQ,
)


def benchmark(repository: Any, name: str = "walk", **words: Any) -> str:
    """Store a benchmark of which nothing but its words counts."""
    query = BenchmarkQuery(
        hash=f"{name} {words}", serialized="{}", metadata=BenchmarkMetadata(name=name, **words)
    )
    return str(repository.store_benchmark(query).id)


def record(repository: Any, benchmark_id: str, n: int = 1, **said: Any) -> list[str]:
    """Record episodes of two steps."""
    return [
        repository.record(
            Steps(
                observations=np.zeros((3, 2)),
                actions=np.array([i, 1]),
                rewards=np.ones(2),
                terminated=np.array([False, True]),
                truncated=np.zeros(2, bool),
                infos=[{}, {}],
                metadata={"i": i, **said},
            ),
            benchmark_id,
        ).header.id
        for i in range(n)
    ]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.init(tmp_path, fs=HastyFileSystem())


def published(repository: Repository, group: str = "global") -> list[str]:
    chosen = FilterEQ(key="published_in", value=group)
    return [header.id for header in repository.episode_headers(chosen)]


# ---- publishing


def test_a_benchmark_is_published_with_the_episodes_that_are_chosen(repository):
    walk = benchmark(repository, version="1.2")
    ids = record(repository, walk, 5)
    other = record(repository, benchmark(repository, "other"), 2)
    report = repository.publish("walk", message="first", licence="MIT", citation="@me")
    (item,) = report.releases
    assert (item.name, item.group, item.generation, item.version) == ("walk", "global", 1, "1.2")
    assert (item.message, item.licence, item.citation) == ("first", "MIT", "@me")
    assert (item.created_by, item.n_episodes) == (repository.settings.user_name, 0)
    assert (report.n_new, report.benchmarks, published(repository)) == (1, (), [])
    chosen = FilterGEQ(key="metadata.i", value=3)
    report = repository.publish(walk, episodes=chosen)
    assert (report.n_added, report.releases[0].licence) == (2, "MIT")
    assert set(published(repository)) == set(ids[3:])
    assert repository.publish(walk[:9], episodes=ids[:1]).n_added == 1
    assert repository.publish("walk", episodes=True).n_added == 2
    assert set(published(repository)) == set(ids)
    assert repository.publish("walk", episodes=True).n_new == 0
    with pytest.raises(InvalidInputError, match="is of another benchmark"):
        repository.publish("walk", episodes=other)
    assert [item.n_episodes for item in repository.log("walk")] == [5, 3, 2, 0]


def test_headers_tell_the_groups(repository):
    walk, wind = (
        benchmark(repository),
        repository.store_artifact(b"wind", ArtifactMetadata(name="Wind!")),
    )
    (one, two) = record(repository, walk, 2)
    repository.publish_episode(one)
    repository.publish_episode(two, "lab")
    repository.publish_artifact(wind.id, "lab")
    assert repository.benchmark(walk).published_in == ["global", "lab"]
    assert repository.list_benchmarks()[0].published_in == ["global", "lab"]
    assert repository.artifact("lab/wind").published_in == ["lab"]
    assert [h.published_in for h in repository.list_episodes()] == [["global"], ["lab"]]
    assert repository.list_artifacts(FilterEQ(key="published_in", value="lab")) == [
        repository.artifact(wind.id)
    ]
    assert [name.name for name in repository.names()] == ["walk", "wind", "walk"]


def test_an_episode_takes_its_benchmark_with_it_and_says_so(repository):
    walk, other = benchmark(repository), benchmark(repository, "other")
    ids = record(repository, walk, 3) + record(repository, other)
    report = repository.publish_episodes([*ids[:2], ids[3][:10]], message="two of them")
    assert report.benchmarks == tuple(sorted([walk, other]))
    assert sorted((r.name, r.n_added, r.message) for r in report.releases) == [
        ("other", 1, "two of them"),
        ("walk", 2, "two of them"),
    ]
    assert repository.publish(ids[2]).benchmarks == ()
    assert set(published(repository)) == set(ids)


def test_an_artifact_goes_with_a_benchmark_and_one_it_needs_is_published_too(tmp_path, storage):
    env = stored(storage, Windy(np.arange(5.0)), cls=WindyWrapper)
    env.publish()
    (wind,) = storage.list_artifacts()
    assert wind.published_in == ["global"]
    plan = storage.store_artifact(b"plan", ArtifactMetadata(name="plan"))
    report = storage.publish(env.id, artifacts=[plan.id])
    assert report.releases[0].artifacts == (plan.id,)
    assert storage.publish(env.id).releases[0].artifacts == (plan.id,)
    assert storage.artifact(plan.id).published_in == ["global"]
    with pytest.raises(InvalidInputError, match="artifacts go with a benchmark"):
        storage.publish(plan.id, artifacts=[wind.id])
    with pytest.raises(InvalidInputError, match="has no episodes to choose from"):
        storage.publish(plan.id, episodes=True)


def test_the_name_is_made_of_the_title_and_stays(repository):
    car = benchmark(repository, "Windy Car (v2)")
    assert repository.publish(car).releases[0].name == "windy-car-v2"
    assert repository.publish("windy-car-v2").n_new == 0
    assert (
        repository.publish("Windy Car (v2)", as_name="car", group="lab").releases[0].name == "car"
    )
    (episode,) = record(repository, car)
    assert repository.publish_episode(episode, "lab").releases[0].name == "car"
    assert [item.title for item in repository.log("car")] == ["Windy Car (v2)"] * 2


def test_a_title_that_makes_no_name_or_that_of_another_asks_for_one(repository):
    kanji, one, two = (benchmark(repository, title) for title in ("日本", "My Car", "my-car"))
    for uri, why in ((kanji, "no name can be made"), (two, "is the name of 'My Car' already")):
        repository.publish(one)
        with pytest.raises(InvalidInputError, match=why) as told:
            repository.publish(uri)
        assert "--as" in told.value.hint
    assert repository.publish(kanji, as_name="nihon").releases[0].title == "日本"
    for wrong in ("Nihon", "../x", "con"):
        with pytest.raises(InvalidInputError, match="cannot be the name"):
            repository.publish(kanji, as_name=wrong)
    with pytest.raises(InvalidInputError, match="cannot be the group"):
        repository.publish(kanji, as_name="x", group="My Lab")
    repository.publish(kanji, as_name="second")
    with pytest.raises(InvalidInputError, match="is published as 'nihon', 'second'"):
        repository.publish(kanji)


def test_another_benchmark_of_the_name_is_the_next_version(repository):
    first, second = benchmark(repository, version="1"), benchmark(repository, version="2")
    record(repository, first, 2)
    repository.publish(first, episodes=True)
    with pytest.raises(AmbiguousNameError) as told:
        repository.publish("walk")
    assert first[:12] in told.value.message
    repository.publish(second)
    assert (repository.release("walk").version, published(repository)) == ("2", [])
    assert repository.benchmark("walk").id == second
    assert repository.benchmark("walk@v1").id == first
    assert repository.benchmark("walk@1").id == first
    assert [h.benchmark_id for h in repository.episodes_of("walk@v1")] == [first, first]


@pytest.mark.parametrize("text", ["nothing", "walk@3", "0" * 64, "0" * 7, "lab/walk"])
def test_what_is_not_here_is_not_published(repository, text):
    benchmark(repository)
    with pytest.raises((NotFoundError, InvalidInputError)):
        repository.publish(text)
    assert repository.names() == []


def test_what_was_removed_here_is_not_published_and_what_is_published_stays_readable(repository):
    walk = benchmark(repository)
    ids = record(repository, walk, 2)
    repository.publish(walk, episodes=True)
    repository.remove([ids[0]])
    with pytest.raises(NotFoundError):
        repository.publish_episode(ids[0])
    with pytest.raises(NotFoundError):
        repository.publish_episode(ids[0][:12])
    assert len(repository.episodes_of("walk")) == 2
    repository.remove([walk])
    assert repository.benchmark("walk").id == walk
    assert [header.id for header in repository.benchmarks_of("walk")] == [walk]
    repository.restore([walk])


def test_a_name_goes_before_the_beginning_of_an_id(repository):
    walk, other = benchmark(repository), benchmark(repository, "other")
    repository.publish(walk, as_name=other[:7])
    assert repository.benchmark(other[:7]).id == walk
    assert repository.benchmark(f"id:{other[:7]}").id == other
    assert repository.publish(f"id:{other[:7]}").releases[0].benchmarks == (other,)


def test_every_place_that_takes_an_id_takes_a_revision(repository):
    walk = benchmark(repository)
    repository.publish(walk)
    wind = repository.store_artifact(b"wind", ArtifactMetadata(name="wind"))
    repository.publish("wind")
    assert repository.load_artifact("wind@1") == b"wind"
    assert repository.resolve("walk@1")[1] == repository.resolve(walk)[1] == walk
    assert repository.read_object("walk")[0] == walk
    assert repository.diff("walk", walk).equal
    assert repository.provenance("walk") == repository.provenance(walk)
    assert repository.remove(["walk", walk, "wind"]) == [
        repository.removed()[0],
        repository.removed()[1],
    ]
    with pytest.raises(InvalidInputError, match="is a benchmark, and one episode is asked for"):
        repository.load_episode("walk")
    assert wind.id == repository.artifact("wind").id


# ---- batches


def test_publications_of_a_batch_are_one_revision_for_each_name(repository):
    walk, other = benchmark(repository), benchmark(repository, "other")
    with repository.batch():
        ids = record(repository, walk, 3) + record(repository, other, 2)
        with repository.batch():
            for one in ids:
                assert repository.publish_episode(one).deferred
        repository.publish("walk", message="of a batch")
        assert repository.names() == []
    assert [(r.n_added, r.message) for r in repository.log("walk")] == [(3, "of a batch")]
    assert [r.n_added for r in repository.log("other")] == [2]


def test_a_batch_that_fails_publishes_nothing(repository):
    walk = benchmark(repository)

    def fail() -> None:
        with repository.batch():
            repository.publish(walk)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert repository.names() == []
    with repository.batch():
        record(repository, walk)
    assert repository.names() == []


def test_two_versions_in_a_batch_stay_two_revisions(repository):
    first, second = benchmark(repository, version="1"), benchmark(repository, version="2")
    with repository.batch():
        for one in (first, second, first):
            repository.publish(one)
    assert [r.version for r in repository.log("walk")] == ["1", "2", "1"]


def test_a_forked_child_does_not_publish_its_parents_batch(repository):
    walk = benchmark(repository)
    with repository.batch():
        repository.publish(walk)
        child = os.fork()
        if child == 0:
            with repository.batch():
                pass
            os._exit(len(list((repository.root / "refs").iterdir())))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(repository.names()) == 1


# ---- taking back


def test_an_episode_is_taken_back_from_one_group_or_from_all(repository):
    walk = benchmark(repository)
    ids = record(repository, walk, 3)
    for group in ("global", "lab", "other"):
        repository.publish(walk, episodes=True, group=group)
    repository.unpublish_episode(ids[0], "lab")
    assert repository.read_episode(ids[0])[0].published_in == ["global", "other"]
    report = repository.unpublish(ids[0][:10], message="wrong")
    assert sorted((r.group, r.n_withdrawn, r.message) for r in report.releases) == [
        ("global", 1, "wrong"),
        ("other", 1, "wrong"),
    ]
    assert repository.read_episode(ids[0])[0].published_in == []
    assert len(repository.list_episodes()) == 3
    for uri, group in ((ids[0], "lab"), (ids[1], "nowhere")):
        with pytest.raises(NotFoundError, match="is not published"):
            repository.unpublish(uri, group=group)


def test_the_episodes_that_match_are_taken_back(repository):
    walk = benchmark(repository)
    ids = record(repository, walk, 5)
    repository.publish(walk, episodes=ids[:4])
    assert (
        repository.unpublish("walk", episodes=FilterGEQ(key="metadata.i", value=3)).n_withdrawn == 1
    )
    assert repository.unpublish(walk, episodes=ids[:1]).n_withdrawn == 1
    assert set(published(repository)) == set(ids[1:3])
    for chosen in (FilterEQ(key="metadata.i", value=4), [], ids[4:], ids[:2]):
        with pytest.raises(NotFoundError, match="published there"):
            repository.unpublish("walk", episodes=chosen)
    assert repository.release("walk@1").n_episodes == 4


@pytest.mark.parametrize("by", ["name", "id", "door"])
def test_a_benchmark_is_taken_back_whole_and_may_come_again(repository, by):
    walk = benchmark(repository)
    record(repository, walk, 2)
    repository.publish(walk, episodes=True)
    if by == "door":
        repository.unpublish_benchmark(walk, "global")
    else:
        repository.unpublish("walk" if by == "name" else walk)
    assert repository.benchmark(walk).published_in == []
    assert published(repository) == []
    assert repository.release("walk").is_retracted
    with pytest.raises(NotFoundError):
        repository.unpublish(walk)
    repository.publish(walk)
    assert repository.benchmark(walk).published_in == ["global"]


def test_an_artifact_is_taken_back(repository):
    wind = repository.store_artifact(b"wind", ArtifactMetadata(name="wind"))
    repository.publish_artifact(wind.id)
    repository.unpublish_artifact(wind.id)
    assert repository.artifact(wind.id).published_in == []


def test_a_name_of_two_kinds_is_not_taken_back_by_guessing(repository):
    walk = benchmark(repository)
    (one,) = record(repository, walk)
    repository.publish(walk)
    repository.pin("pin", [one])
    repository.publish("pin", as_name="walk")
    with pytest.raises(AmbiguousNameError, match="global/dataset/walk"):
        repository.unpublish("walk")
    repository.unpublish("global/dataset/walk")
    assert repository.release("global/benchmark/walk").n_episodes == 0


def test_a_yanked_revision_is_passed_over_and_marked(repository):
    walk = benchmark(repository)
    (one, two) = record(repository, walk, 2)
    repository.publish_episode(one)
    repository.publish_episode(two)
    item = repository.yank("walk@2", "wrong wind")
    assert (item.yanked, item.is_head) == ("wrong wind", False)
    assert repository.release("walk").generation == 1
    assert published(repository) == [one]
    repository.unpublish_episode(one)
    with pytest.raises(InvalidInputError, match="takes something back"):
        repository.yank("walk")
    with pytest.raises(NotFoundError):
        repository.yank("walk@9")


# ---- pins


def test_a_pin_is_exactly_its_episodes_and_stays_here(repository):
    walk, other = benchmark(repository), benchmark(repository, "other")
    ids = record(repository, walk, 3) + record(repository, other)
    item = repository.pin("train", ids[1:], message="for the paper")
    assert (item.group, item.kind, item.n_episodes, item.message) == (
        *("local", "dataset", 3, "for the paper"),
    )
    assert item.benchmarks == tuple(sorted([walk, other]))
    assert repository.pin("train", ids[1:]) == item
    record(repository, walk, 2)
    assert {h.id for h in repository.episodes_of("train")} == set(ids[1:])
    assert repository.release(item.revision).digest == item.digest
    assert published(repository, "local") == []
    again = repository.pin("train", ids[:1])
    assert (again.generation, again.n_episodes) == (2, 1)
    assert {h.id for h in repository.episodes_of(f"train@{item.revision[:12]}")} == set(ids[1:])


def test_a_pin_is_shared_as_it_is(repository):
    ids = record(repository, benchmark(repository), 3)
    pin = repository.pin("train", ids[:2])
    (shared,) = repository.publish("train", licence="MIT").releases
    assert (shared.group, shared.digest, shared.licence) == ("global", pin.digest, "MIT")
    assert set(published(repository)) == set(ids[:2])
    assert repository.publish("train").n_new == 0
    assert repository.release("global/train").revision == shared.revision
    repository.pin("train", ids)
    assert repository.publish("train").releases[0].n_episodes == 3
    repository.unpublish("train")
    assert published(repository) == []
    assert repository.release("local/train").n_episodes == 3


def test_a_pin_may_hold_what_was_removed(repository):
    ids = record(repository, benchmark(repository), 2)
    repository.remove(ids[:1])
    assert repository.pin("train", ids).n_episodes == 2
    assert len(repository.episodes_of("train")) == 2
    for wrong in (["0" * 64], [repository.list_benchmarks()[0].id]):
        with pytest.raises((NotFoundError, InvalidInputError)):
            repository.pin("train", wrong)
    with pytest.raises(InvalidInputError, match="cannot be the name"):
        repository.pin("My Set", ids)


# ---- looking


def test_the_log_tells_the_newest_first_of_one_name_or_of_all(repository):
    walk, other = benchmark(repository), benchmark(repository, "other")
    repository.publish(walk)
    repository.publish(other)
    repository.publish(walk, message="again")
    assert [(i.name, i.generation) for i in repository.log()] == [
        ("walk", 2),
        ("other", 1),
        ("walk", 1),
    ]
    assert [i.generation for i in repository.log("walk")] == [2, 1]
    assert [i.generation for i in repository.log("walk@1")] == [1]
    with pytest.raises(NotFoundError, match="nothing is published as 'nothing'"):
        repository.log("nothing")


def test_a_conflict_is_told_by_the_names_and_ended_by_as_next(tmp_path, repository):
    other = Repository.init(tmp_path / "b", fs=HastyFileSystem())
    for lab, version in ((repository, "1"), (other, "2")):
        lab.publish(benchmark(lab, version=version))
    os.system(f"cp -rn {other.root}/objects {other.root}/refs {repository.root}/")
    (name,) = repository.names()
    assert (name.diverged, len(name.current)) == (True, 2)
    with pytest.raises(AmbiguousNameError):
        repository.benchmark("walk")
    walk = repository.list_benchmarks()[0].id
    with pytest.raises(ConflictError, match="has diverged"):
        repository.publish(walk)
    repository.publish(walk, as_next=True)
    assert repository.benchmark("walk").id == walk
    assert not repository.names()[0].diverged


def test_a_damaged_ref_is_told_and_does_not_stop_recording(tmp_path, repository):
    walk = benchmark(repository)
    repository.publish(walk)
    (path,) = (p for p in (repository.root / "refs").rglob("*") if p.is_file())
    path.chmod(0o644)
    path.write_bytes(b"{}")
    again = Repository(tmp_path)
    with pytest.raises(CorruptObjectError, match=path.name):
        again.list_benchmarks()
    assert record(again, walk)
    again.flush()


# ---- bare repositories


def test_a_bare_repository_shows_exactly_what_its_heads_have(tmp_path, repository):
    walk, other = benchmark(repository), benchmark(repository, "other")
    ids = record(repository, walk, 3) + record(repository, other, 2)
    wind, plan = (
        repository.store_artifact(name.encode(), ArtifactMetadata(name=name))
        for name in ("wind", "plan")
    )
    repository.publish(walk, episodes=ids[:2])
    repository.publish_artifact(wind.id)
    repository.close()
    bare = Repository.init(tmp_path / "drive", bare=True, fs=HastyFileSystem())

    os.system(f"cp -rn {repository.root}/objects {repository.root}/packs {bare.root}/")
    assert (bare.list_benchmarks(), bare.list_artifacts(), bare.list_episodes()) == ([], [], [])
    os.system(f"cp -rn {repository.root}/refs {bare.root}/")
    shown_now = (
        [h.id for h in bare.list_benchmarks()],
        [h.id for h in bare.list_artifacts()],
        {h.id for h in bare.list_episodes()},
    )
    assert shown_now == ([walk], [wind.id], set(ids[:2]))
    status = bare.status()
    assert (status.benchmarks, status.artifacts, status.episodes) == (1, 1, 2)
    for hidden in (other, plan.id, ids[2]):
        with pytest.raises(NotFoundError):
            bare.resolve(hidden)
    repository.unpublish_episode(ids[0])
    os.system(f"cp -rn {repository.root}/objects {repository.root}/refs {bare.root}/")
    assert [h.id for h in bare.list_episodes()] == [ids[1]]
    assert len(repository.list_episodes()) == 5
    bare.close()


# ---- failures


@pytest.mark.parametrize("who", ["this process", "another"])
def test_episodes_are_durable_before_a_record_names_them(tmp_path, who):
    with Repository.init(tmp_path, fs=HastyFileSystem()) as first:
        walk = benchmark(first)
    fs = RecordingFileSystem()
    mine = Repository(tmp_path, fs=fs)
    other = mine if who == "this process" else Repository(tmp_path, fs=HastyFileSystem())
    record(other, walk)
    fs.clear()
    mine.publish(walk, episodes=True)
    changes = fs.changes()
    named = next(n for n, (name, path) in enumerate(changes) if name == "link")
    assert any(name == "fsync" and path.suffix == ".journal" for name, path in changes[:named])
    other.close()
    mine.close()


def test_publishing_that_is_killed_anywhere_reads_as_before_and_the_next_completes(tmp_path):
    for attempt in each_step(Killed):
        root = tmp_path / str(attempt.step)
        before = Repository.init(root, fs=HastyFileSystem())
        walk = benchmark(before)
        ids = record(before, walk, 2)
        before.publish(walk, episodes=ids[:1])
        before.close()
        dying = Repository(root, fs=attempt.fs)
        with attempt:
            dying.publish(walk, episodes=True)
        abandon(dying._store)
        after = Repository(root, fs=HastyFileSystem())
        assert set(published(after)) in (set(ids[:1]), set(ids))
        after.publish(walk, episodes=True)
        assert set(published(after)) == set(ids)
        assert [item.generation for item in after.log("walk")] == [2, 1]
        after.close()


def test_what_a_wrapper_records_is_published_by_its_storage(storage):
    env = stored(storage, Walk())
    env.publish()
    play(env, [1, 2, 3, 0, 1])
    assert storage.publish(env.id, episodes=True).n_added == 1
    assert storage.list_episodes()[0].published_in == ["global"]
