"""What a notebook shows: at a glance, in a table, and never as anybody's HTML."""

import re
from pathlib import Path
from shutil import rmtree

import gymnasium
import pytest

from tests.test_storage import episode, query
from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.schema import ArtifactMetadata

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def lab(tmp_path: Path) -> FileStorage:
    """A repository with a benchmark and an episode that ended."""
    storage = FileStorage(tmp_path / "lab")
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    env.store("cartpole", description=HOSTILE, version="1.2")
    env.reset(seed=0)
    while not any(env.step(1)[2:4]):
        pass
    env.close()
    return storage


def shown(html: str) -> str:
    assert "<script" not in html
    return re.sub(r"<[^>]+>", " ", html)


def test_a_repository_lists_its_benchmarks(lab: FileStorage):
    text = shown(lab._repr_html_())
    assert str(lab.root.parent) in text
    assert re.search(r"cartpole +1\.2 +1 ", text)


def test_headers_say_what_there_is_to_see(lab: FileStorage):
    (benchmark,), (header,) = lab.list_benchmarks(), lab.list_episodes()
    assert repr(benchmark) == (
        f"BenchmarkHeader(id='{benchmark.id[:12]}', name='cartpole',"
        f" description={HOSTILE!r}, version='1.2')"
    )
    assert repr(header) == (
        f"EpisodeHeader(id='{header.id[:12]}', benchmark_id='{benchmark.id[:12]}',"
        f" n_tuples={header.n_tuples}, terminated=True, seed=0)"
    )
    assert "cartpole" in shown(benchmark._repr_html_())
    assert header.created_by in shown(header._repr_html_())
    lab.annotate(header.id, {HOSTILE: [HOSTILE]})
    assert "alert" in shown(lab.list_episodes()[0]._repr_html_())


def test_an_episode_tells_its_return_and_what_its_steps_look_like(lab: FileStorage):
    found = lab.load_episode(lab.list_episodes()[0].id)
    n = found.n_tuples
    assert f"total_reward={float(n)}, state='float (4,)', action='int'" in repr(found)
    assert f"total_reward {float(n)}" in " ".join(shown(found._repr_html_()).split())


def test_an_artifact_tells_its_size(lab: FileStorage):
    item = lab.store_artifact(b"1,2", ArtifactMetadata(name="wind", extra={"k": 1}))
    assert repr(item) == (
        f"ArtifactMetadataItem(id='{item.id[:12]}', name='wind', size=3, extra={{'k': 1}})"
    )


def test_rewards_of_several_numbers_have_no_sum(tmp_path: Path):
    storage = FileStorage(tmp_path / "lab")
    benchmark = storage.store_benchmark(query()).id
    made = episode(benchmark)
    for step in made.tuples:
        step.reward = [1.0, 2.0]
    found = storage.load_episode(storage.record_episode(made).id)
    assert "total_reward" not in repr(found)


def test_a_dataset_tells_what_it_has_and_once_loaded_its_columns_and_returns(lab: FileStorage):
    dataset = TupliDataset(lab)
    text = " ".join(shown(dataset._repr_html_()).split())
    assert "benchmarks cartpole episodes 1 steps" in text
    assert "not loaded" in repr(dataset)
    assert "returns" not in text
    dataset.load()
    n = int(dataset.episode_lengths.sum())
    text = " ".join(shown(dataset._repr_html_()).split())
    assert f"observations float32 ({n + 1}, 4) actions int64 ({n},)" in text
    assert f"returns {n} ± 0, {n} to {n}" in text
    assert f"1 episodes, {n} steps" in repr(dataset)


def test_a_dataset_of_nothing_has_a_table(tmp_path: Path):
    dataset = TupliDataset(FileStorage(tmp_path / "lab"))
    dataset.load()
    assert "episodes 0" in " ".join(shown(dataset._repr_html_()).split())


def test_columns_of_an_episode_are_a_table(lab: FileStorage):
    _, data = lab.read_episode(lab.list_episodes()[0].id)
    n = len(data)
    text = " ".join(shown(data._repr_html_()).split())
    assert f"steps {n} return {float(n)} observations float32 ({n + 1}, 4)" in text


def test_what_has_no_utf8_is_shown_all_the_same(tmp_path: Path):
    storage = FileStorage(tmp_path / "lab")
    storage.store_benchmark(query("half \ud800"))
    for thing in (storage, storage.list_benchmarks()[0], TupliDataset(storage)):
        assert b"half ?" in thing._repr_html_().encode()


def test_a_dataset_of_several_kinds_shows_each_and_no_returns_of_several_rewards(tmp_path: Path):
    storage = FileStorage(tmp_path / "lab")
    benchmark = storage.store_benchmark(query()).id
    for reward in (1.0, [1.0, 2.0]):
        made = episode(benchmark)
        for step in made.tuples:
            step.reward = reward
        storage.record_episode(made)
    dataset = TupliDataset(storage).with_tuple_filter(lambda step: not step.terminal)
    dataset.load()
    text = " ".join(shown(dataset._repr_html_()).split())
    assert "rewards float64 (2,); float64 (2, 2)" in text
    assert "returns" not in text
    assert "steps 4 step filters 1" in text
    assert repr(dataset).endswith("2 episodes, 4 steps, a step filter)")


def test_a_dataset_that_cannot_be_read_says_why(lab: FileStorage):
    dataset = TupliDataset(lab)
    rmtree(lab.root)
    assert re.search(r"problem +the repository .* is gone", shown(dataset._repr_html_()))
