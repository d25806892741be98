"""Where a step filter leaves a gap, no library goes across it, and no step loses what followed."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.handover.episodes import Ending, Truth, only, record, runs_of
from tupli_repo import FileStorage, Repository, TupliDataset
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop import export_d4rl, import_d4rl

pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own


def episodes(*, has_final: st.SearchStrategy[bool]) -> st.SearchStrategy[list[Ending]]:
    one = st.builds(
        Ending,
        st.integers(1, 8),
        terminated=st.booleans(),
        has_final=has_final,
        is_flagged=st.booleans(),
    )
    return st.lists(one, min_size=1, max_size=5)


WHOLE = episodes(has_final=st.just(True))
ANY = episodes(has_final=st.booleans())
Found = tuple[TupliDataset, list[Truth], list[list[Truth]]]


def with_gaps(
    check: Callable[[Found], None], endings: st.SearchStrategy[list[Ending]], n: int = 30
) -> None:
    """Check many datasets of filtered steps, beside the runs that a loop of its own found."""

    @settings(max_examples=n)
    @given(endings, st.data())
    def run(chosen: list[Ending], data: st.DataObject) -> None:
        with TemporaryDirectory() as folder, FileStorage(folder) as storage:
            truth = record(storage, chosen)
            kept = data.draw(st.sets(st.integers(0, len(truth) - 1)), label="kept")
            dataset = only(TupliDataset(storage), truth, kept)
            check((dataset, truth, runs_of(truth, chosen, kept)))

    run()


def d4rl_runs(data: Any) -> list[list[tuple[Any, ...]]]:
    """Cut arrays as D4RL's readers do, the next observation being that of the next row."""
    found: list[list[tuple[Any, ...]]] = [[]]
    for i, reward in enumerate(data["rewards"].tolist()):
        found[-1].append((reward, tuple(data["observations"][i]), bool(data["terminals"][i])))
        if data["terminals"][i] or data["timeouts"][i]:
            found.append([])
    return [run for run in found if run]


def told(runs: list[list[Truth]]) -> list[list[tuple[Any, ...]]]:
    return [[(x.reward, tuple(x.state), x.terminated) for x in run] for run in runs]


def test_readers_of_d4rls_arrays_stop_before_a_gap():
    def check(found: Found) -> None:
        dataset, _, runs = found
        data = dataset.convert_to_d4rl_format()
        assert d4rl_runs(data) == told(runs)
        for i, one in enumerate(x for run in runs for x in run):
            if not one.terminated:
                assert np.array_equal(data["next_observations"][i], one.next_state)

    with_gaps(check, ANY)


def test_lists_and_tensors_stop_before_a_gap():
    def check(found: Found) -> None:
        dataset, _, runs = found
        names = ("observations", "rewards", "terminals", "timeouts")
        assert d4rl_runs({name: np.array(getattr(dataset, name)) for name in names}) == told(runs)
        _, _, _, terminals, timeouts = dataset.convert_to_tensors()
        assert (terminals | timeouts).sum() == len(runs)

    with_gaps(check, WHOLE)


def test_sub_trajectories_are_parts_of_runs():
    def check(found: Found) -> None:
        dataset, _, runs = found
        length = 2
        pairs = {(a.reward, b.reward) for run in runs for a, b in pairwise(run)}
        sampler = dataset.sampler(seed=0)
        if not pairs:
            with pytest.raises(InvalidInputError):
                sampler.sequences(1, length)
            return
        drawn = sampler.sequences(200, length)
        assert {tuple(row) for row in drawn["rewards"].tolist()} <= pairs
        nexts = {x.reward: x.next_state for run in runs for x in run}
        assert all(
            np.array_equal(one, nexts[reward])
            for one, reward in zip(
                drawn["next_observations"].reshape(-1, 3), drawn["rewards"].ravel(), strict=True
            )
            if not any(x.reward == reward and x.terminated for run in runs for x in run)
        )

    with_gaps(check, ANY)


def test_a_d4rl_file_stops_before_a_gap_and_comes_back_as_runs(tmp_path: Path):
    h5py: Any = pytest.importorskip("h5py")

    def check(found: Found) -> None:
        dataset, _, runs = found
        with TemporaryDirectory() as folder:
            file = Path(folder) / "steps.hdf5"
            if not runs:
                with pytest.raises(InvalidInputError, match="no steps"):
                    export_d4rl(dataset, file)
                assert not file.exists()
                return
            report = export_d4rl(dataset, file)
            assert report.n_steps == sum(map(len, runs))
            with h5py.File(file) as opened:
                data = {name: column[()] for name, column in opened.items() if name != "infos"}
            assert d4rl_runs(data) == told(runs)
            with FileStorage(Path(folder) / "other") as other:
                import_d4rl(other, file)
                back = TupliDataset(other)
                assert sorted(back.episode_lengths) == sorted(map(len, runs))
                followed = {x.reward: x.next_state for run in runs for x in run}
                columns = back.convert_to_d4rl_format()
                assert len(columns["rewards"]) == len(followed)
                for reward, state in zip(
                    columns["rewards"].tolist(), columns["next_observations"], strict=True
                ):
                    assert np.array_equal(state, followed[reward])

    with_gaps(check, WHOLE, 20)


def test_d3rlpy_has_an_episode_for_each_run():
    d3rlpy: Any = pytest.importorskip("d3rlpy", exc_type=ImportError)

    def check(found: Found) -> None:
        dataset, _, runs = found
        if not runs:
            with pytest.raises(InvalidInputError, match="what followed"):
                dataset.to_d3rlpy()
            return
        buffer = dataset.to_d3rlpy()
        several = d3rlpy.dataset.MultiStepTransitionPicker(n_steps=3, gamma=1.0)
        assert [episode.transition_count for episode in buffer.episodes] == list(map(len, runs))
        for episode, run in zip(buffer.episodes, runs, strict=True):
            assert episode.terminated == run[-1].terminated
            for i, one in enumerate(run):
                found_one = buffer.transition_picker(episode, i)
                assert np.array_equal(found_one.observation, one.state)
                assert np.array_equal(found_one.action, one.action)
                assert found_one.reward.item() == np.float32(one.reward)
                assert found_one.terminal == one.terminated
                if not one.terminated:
                    assert np.array_equal(found_one.next_observation, one.next_state)
                later = several(episode, i)
                assert later.interval == len(run[i : i + 3])
                if not later.terminal:
                    assert np.array_equal(later.next_observation, run[i : i + 3][-1].next_state)
                assert float(later.reward[0]) == pytest.approx(
                    sum(x.reward for x in run[i : i + 3]), abs=1e-4
                )

    with_gaps(check, ANY)


def test_torchrl_has_a_trajectory_for_each_run():
    torch: Any = pytest.importorskip("torch")
    pytest.importorskip("tensordict", exc_type=ImportError)

    def check(found: Found) -> None:
        dataset, _, runs = found
        rows = dataset.to_tensordict()
        flat = [(number, one, one is run[-1]) for number, run in enumerate(runs) for one in run]
        assert rows.batch_size == torch.Size([len(flat)])
        for row, (number, one, is_last) in zip(rows, flat, strict=True):
            assert row["episode"].item() == number
            assert np.array_equal(row["observation"], one.state)
            assert row["next", "reward"].item() == one.reward
            assert row["next", "terminated"].item() == one.terminated
            assert row["next", "truncated"].item() == (is_last and not one.terminated)
            assert row["next", "done"].item() == is_last
            if not one.terminated:
                assert np.array_equal(row["next", "observation"], one.next_state)

    with_gaps(check, ANY)


@pytest.mark.parametrize("key", [{"end_key": ("next", "done")}, {"traj_key": "episode"}])
def test_torchrls_slices_never_cross_a_gap(storage: Repository, key: dict[str, Any]):
    data: Any = pytest.importorskip("torchrl.data", exc_type=ImportError)
    endings = [
        Ending(40, terminated=True),
        Ending(50, terminated=False),
        Ending(1, terminated=True),
    ]
    truth = record(storage, endings)
    kept = set(np.flatnonzero(np.random.default_rng(3).random(len(truth)) < 0.8).tolist())
    found = only(TupliDataset(storage), truth, kept).to_tensordict()
    runs = runs_of(truth, endings, kept)
    buffer = data.TensorDictReplayBuffer(
        storage=data.LazyTensorStorage(len(found)),
        sampler=data.SliceSampler(slice_len=3, strict_length=True, **key),
        batch_size=90,
    )
    buffer.extend(found)
    possible = {
        tuple((x.episode, int(x.state[1])) for x in run[i : i + 3])
        for run in runs
        for i in range(len(run) - 2)
    }
    seen = set()
    for _ in range(60):
        rows = buffer.sample().reshape(-1, 3)
        assert (rows["next", "observation"][:, :-1] == rows["observation"][:, 1:]).all()
        places = rows["observation"][..., :2].int().tolist()
        seen |= {tuple(map(tuple, one)) for one in places}
    assert seen == possible


@pytest.mark.parametrize("handles", [True, False])
def test_sb3_neither_sums_nor_ends_across_a_gap(handles: bool):
    pytest.importorskip("stable_baselines3", exc_type=ImportError)

    def check(found: Found) -> None:
        dataset, _, runs = found
        n = sum(map(len, runs))
        options: dict[str, Any] = {"device": "cpu", "handle_timeout_termination": handles}
        single = dataset.to_sb3_replay_buffer(**options)
        several = dataset.to_sb3_replay_buffer(n_steps=3, gamma=0.5, buffer_size=n + 2, **options)
        assert type(several).__name__ == "NStepReplayBuffer"
        one_by_one, at_once = (b._get_samples(np.arange(n)) for b in (single, several))
        flat = [(run, at) for run in runs for at in range(len(run))]
        for i, (run, at) in enumerate(flat):
            one, following = run[at], run[at : at + 3]

            def ends(step: Truth) -> bool:
                return step.terminated or (not handles and step.truncated)

            assert np.array_equal(one_by_one.observations[i], one.state)
            assert one_by_one.dones[i].item() == ends(one)
            if not one.terminated:
                assert np.array_equal(one_by_one.next_observations[i], one.next_state)
                assert np.array_equal(at_once.observations[i], one.state)
            assert at_once.rewards[i].item() == pytest.approx(
                sum(x.reward * 0.5**k for k, x in enumerate(following)), abs=1e-5
            )
            assert at_once.dones[i].item() == ends(following[-1])
            if not following[-1].terminated:
                assert np.array_equal(at_once.next_observations[i], following[-1].next_state)

    with_gaps(check, WHOLE, 20)
