"""RLDS's steps say what RLDS says they do, and come back as the episodes they were."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings

from tests.handover.episodes import ENDINGS, LEVER, Ending, Truth, benchmark, record
from tests.strategies import Generated, episodes, same
from tupli_repo import FileStorage, Steps, TupliDataset
from tupli_repo.codec.episode import EpisodeData
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop import import_rlds


def all_of(storage: Any) -> list[EpisodeData]:
    return [data for _, data in storage.read_episodes(h.id for h in storage.episode_headers())]


def rlds(truth: list[Truth]) -> Iterator[dict[str, Any]]:
    """What another project writes of a truth, by RLDS's own words; steps may be read once."""
    numbers = dict.fromkeys(one.episode for one in truth)
    for number in numbers:
        rows = [one for one in truth if one.episode == number]
        seen = [rows[0].state, *(one.next_state for one in rows)]

        def steps(rows: list[Truth] = rows, seen: list[Any] = seen) -> Iterator[dict[str, Any]]:
            for t, observation in enumerate(seen):
                is_last = t == len(rows)
                yield {
                    "observation": {"state": observation, "text": b"w\xc3\xb6rd"},
                    "action": np.full(2, 77, "f4") if is_last else rows[t].action,
                    "reward": np.float64(99) if is_last else np.float64(rows[t].reward),
                    "discount": np.float32(1),
                    "is_first": np.bool_(t == 0),
                    "is_last": np.bool_(is_last),
                    "is_terminal": np.bool_(is_last and rows[-1].terminated),
                    "tag": np.int32(t),
                }

        yield {"steps": steps(), "episode_metadata": {"path": b"x", "number": number}}


def test_steps_are_as_rlds_says(storage: Any):
    truth = record(storage)
    dataset = TupliDataset(storage)
    found = dataset.to_rlds()
    assert len(found) == len(list(found)) == len(ENDINGS)
    rows = iter(truth)
    for episode, ending in zip(found, ENDINGS, strict=True):
        steps = episode["steps"]
        assert len(steps) == ending.n_steps + 1
        assert [step["is_first"] for step in steps] == [True] + [False] * ending.n_steps
        assert [step["is_last"] for step in steps] == [False] * ending.n_steps + [True]
        assert [step["is_terminal"] for step in steps[:-1]] == [False] * ending.n_steps
        assert steps[-1]["is_terminal"] == ending.terminated
        assert episode["truncated"] != ending.terminated
        for step, following in pairwise(steps):
            one = next(rows)
            assert same(step["observation"], one.state)
            assert same(following["observation"], one.next_state)
            assert same(step["action"], one.action)
            assert step["reward"] == one.reward
            assert step["discount"] == (0 if one.terminated else 1)
        assert same(steps[-1]["action"], np.zeros(2, np.float32))
        assert (steps[-1]["reward"], steps[-1]["discount"]) == (0, 0)
        assert {frozenset(step) for step in steps} == {frozenset(steps[0])}
    assert next(rows, None) is None
    assert [e["episode_id"] for e in found] == [h.id for h in dataset.preview()]


@settings(max_examples=25)
@given(generated=episodes())
def test_what_goes_out_and_comes_back_is_equal(generated: Generated, tmp_path_factory: Any):
    steps, observation, action = generated
    folder = tmp_path_factory.mktemp("round")
    with FileStorage(folder / "ours") as ours, FileStorage(folder / "theirs") as theirs:
        known = {"observation_space": observation, "action_space": action}
        ours.record(steps, benchmark(ours), **known)
        (was,) = all_of(ours)
        n = was.n_steps
        found = TupliDataset(ours).to_rlds()
        report = import_rlds(theirs, "again", found, **known)
        if not was.record["final_observation"] and not was.terminated[-1]:
            assert report.n_steps == n - 1  # what the last action led to was never known
            return
        (now,) = all_of(theirs)
        for name, column in was.columns.items():
            there = now.columns[name]
            assert same(there[: len(column)], column), name
        assert now.columns.keys() == was.columns.keys()
        told = now.record["metadata"]
        assert same({k: v for k, v in told.items() if k != "episode_id"}, was.record["metadata"])
        for name in ("seed", "options", "reset_info", "terminated", "truncated"):
            assert same(now.record[name], was.record[name])
        assert (now.layout.observation_space, now.layout.action_space) == (observation, action)


def test_texts_sequences_and_graphs_come_back(storage: Any, tmp_path: Path):
    observation = spaces.Dict(
        word=spaces.Text(9),
        many=spaces.Sequence(spaces.Box(-1, 1, (2,))),
        graph=spaces.Graph(spaces.Box(-1, 1, (2,)), spaces.Discrete(3)),
    )
    observation.seed(2)
    steps = Steps(
        observations=[observation.sample() for _ in range(3)], actions=["up", "down"],
        rewards=np.ones((2, 3)), terminated=np.zeros(2, bool), truncated=np.array([False, True]),
        infos=[{"a": 1}, {"b": "x"}],
    )  # fmt: skip
    storage.record(steps, benchmark(storage), observation_space=observation)
    found = TupliDataset(storage).to_rlds()
    (episode,) = found
    assert episode["steps"][-1]["action"] == ""
    with FileStorage(tmp_path / "theirs") as theirs:
        import_rlds(theirs, "again", found, observation_space=observation)
        (was,), (now,) = all_of(storage), all_of(theirs)
        assert now.columns.keys() == was.columns.keys()
        assert all(same(now.columns[name], column) for name, column in was.columns.items())


def test_episodes_of_others_come_in_and_what_means_nothing_does_not(storage: Any, tmp_path: Path):
    truth = record(FileStorage(tmp_path / "other"))
    report = import_rlds(storage, "arm", rlds(truth))
    assert (report.format, report.n_episodes, report.n_steps) == ("rlds", 6, len(truth))
    assert report.left_out == ()
    rows = iter(truth)
    for number, data in enumerate(all_of(storage)):
        assert len(data.observations) == len(data) + 1
        for i in range(len(data)):
            one = next(rows)
            assert same(data.observations[i], {"state": one.state, "text": "wörd"})
            assert same(data.observations[i + 1]["state"], one.next_state)
            assert same(data.actions[i], one.action)
            assert data.rewards[i] == one.reward
            assert (data.terminated[i], data.truncated[i]) == (one.terminated, one.truncated)
            assert same(data.infos[i], {"tag": np.int32(i)})
        assert data.record["metadata"] == {"episode_metadata": {"path": b"x", "number": number}}
    assert import_rlds(storage, "arm", rlds(truth)).n_new == 0


def test_steps_may_lie_in_arrays_and_the_last_may_have_an_action(storage: Any):
    n = 4
    steps = {
        "observation": {"state": np.arange(n, dtype="f4")},
        "action": np.arange(n) * 10,
        "reward": np.arange(n, dtype="f4") / 2,
        "discount": np.full(n, 0.9, "f4"),
        "is_first": np.arange(n) == 0,
        "is_last": np.arange(n) == n - 1,
        "is_terminal": np.arange(n) == n - 1,
    }
    import_rlds(storage, "by the book", [{"steps": steps}])
    import_rlds(storage, "robots", [{"steps": steps}], last_action=True)
    part = {**steps, "is_last": np.zeros(n, bool), "is_terminal": np.zeros(n, bool)}
    import_rlds(storage, "a part", [{"steps": part}])
    found = {}
    for header in storage.episode_headers():
        ((_, data),) = storage.read_episodes([header.id])
        found[storage.benchmark(header.benchmark_id).metadata.name] = data
    assert [found["by the book"].actions[i] for i in range(3)] == [0, 10, 20]
    assert len(found["by the book"]) == 3
    assert found["by the book"].terminated.tolist() == [False, False, True]
    assert len(found["by the book"].observations) == 4
    assert found["by the book"].infos[0] == {"discount": np.float32(0.9)}
    assert len(found["robots"]) == len(found["robots"].observations) == 4
    assert found["robots"].terminated.tolist() == [False, False, False, True]
    assert found["robots"].actions[3] == 30
    assert len(found["a part"]) == len(found["a part"].observations) == 4
    assert not found["a part"].truncated.any()


def test_where_the_last_observation_was_never_known(storage: Any, tmp_path: Path):
    endings = [
        Ending(3, terminated=True, has_final=False),
        Ending(3, terminated=False, has_final=False),
        Ending(1, terminated=False, has_final=False),
    ]
    truth = record(storage, endings, action_space=LEVER)
    first, second, third = (episode["steps"] for episode in TupliDataset(storage).to_rlds())
    assert [len(first), len(second), len(third)] == [4, 3, 1]
    assert same(first[3]["observation"], truth[2].state)
    assert first[3]["is_terminal"]
    assert [step["action"] for step in second] == [truth[3].action, truth[4].action, 0]
    assert same(second[2]["observation"], truth[5].state)
    assert third[0]["is_first"]
    assert third[0]["is_last"]
    with FileStorage(tmp_path / "theirs") as theirs:
        report = import_rlds(theirs, "again", TupliDataset(storage).to_rlds())
        assert report.left_out == ("episode 2, which has no action",)
        assert report.n_steps == 5


def test_what_is_none_of_rlds_is_told(storage: Any):
    ok = {"observation": 1.0, "action": 1, "reward": 0.0, "is_first": True, "is_last": False}
    last = ok | {"is_first": False, "is_last": True}
    cases: list[tuple[Any, str]] = [
        ({"stepz": []}, "episode 0 is no dictionary with 'steps'"),
        ({"steps": [{"observation": 1}]}, "step 0 of episode 0 is no dictionary with 'is_first'"),
        ({"steps": [ok, ok, last]}, "begins or ends in the middle, at step 1"),
        ({"steps": [ok, last, last]}, "begins or ends in the middle, at step 1"),
        ({"steps": [{k: v for k, v in ok.items() if k != "reward"}, last]}, "has no 'reward'"),
        ({"steps": None}, "steps of episode 0 are a 'NoneType'"),
        ({"steps": {k: [v] * (2 + (k == "action")) for k, v in ok.items()}}, "row for each step"),
        ({"steps": {k: [v] * 2 for k, v in ok.items()} | {"word": "ab"}}, "row for each step"),
        ({"steps": {k: [v] for k, v in ok.items()} | {"is_last": True}}, "no 'is_last'"),
    ]
    for episode, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            import_rlds(storage, "odd", [episode])
    report = import_rlds(storage, "odd", [{"steps": [ok, last]}])
    assert report.left_out == (
        "whether episodes ended in a terminal state, which not all steps tell",
    )


def test_a_dataset_with_a_step_filter_has_no_whole_episodes(storage: Any):
    record(storage)
    dataset = TupliDataset(storage).with_tuple_filter(lambda step: step.reward > 0)
    with pytest.raises(InvalidInputError, match="step filter"):
        dataset.to_rlds()
