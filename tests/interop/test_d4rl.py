"""D4RL's flat files come in and go out; boundaries are where the flags say."""

import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.handover.episodes import benchmark
from tests.interop.d4rl_files import assert_same_arrays, flat_file, read
from tupli_repo import FileStorage, Steps, TupliDataset, TupliEnvWrapper
from tupli_repo.errors import CorruptObjectError, InvalidInputError, NotFoundError
from tupli_repo.interop import export_d4rl, import_arrays, import_d4rl

h5py = pytest.importorskip("h5py")


@pytest.mark.parametrize("with_next", [True, False])
def test_a_file_goes_out_as_it_came_in(with_next: bool, tmp_path: Path):
    arrays = flat_file(tmp_path / "hopper.hdf5", with_next=with_next)
    storage = FileStorage(tmp_path / "ours")
    report = import_d4rl(storage, tmp_path / "hopper.hdf5")
    assert (report.n_episodes, report.n_steps, report.n_new, report.left_out) == (4, 12, 4, ())
    assert import_d4rl(storage, tmp_path / "hopper.hdf5").n_new == 0
    assert storage.list_benchmarks()[0].metadata.name == "hopper"
    assert '"SAC"' in storage.load_benchmark(report.benchmarks[0]).serialized
    written = export_d4rl(TupliDataset(storage), tmp_path / "back.hdf5")
    assert (written.n_episodes, written.n_steps) == (4, 12)
    assert written.left_out == (
        () if with_next else ("next_observations, as 4 episodes lack their last observation",)
    )
    assert_same_arrays(read(tmp_path / "back.hdf5"), arrays)


def test_episodes_end_where_the_flags_say_and_know_their_last_observation(tmp_path: Path):
    arrays = flat_file(tmp_path / "a.hdf5", with_next=True)
    storage = FileStorage(tmp_path / "ours")
    import_d4rl(storage, tmp_path / "a.hdf5")
    episodes = [data for _, data in storage.read_episodes(h.id for h in storage.episode_headers())]
    assert [len(data) for data in episodes] == [3, 4, 3, 2]
    assert [len(data.observations) for data in episodes] == [4, 5, 4, 3]
    np.testing.assert_array_equal(
        episodes[1].columns["observations"][-1], arrays["next_observations"][6]
    )
    assert [bool(d.terminated[-1]) for d in episodes] == [True, False, True, False]
    assert [bool(d.truncated[-1]) for d in episodes] == [False, True, True, False]
    np.testing.assert_array_equal(episodes[1].columns["infos/qpos"], arrays["infos/qpos"][3:7])


def test_without_next_observations_an_episode_has_as_many_observations_as_actions(tmp_path: Path):
    flat_file(tmp_path / "a.hdf5", with_next=False)
    storage = FileStorage(tmp_path / "ours")
    import_d4rl(storage, tmp_path / "a.hdf5")
    episodes = [data for _, data in storage.read_episodes(h.id for h in storage.episode_headers())]
    assert [len(data.observations) for data in episodes] == [3, 4, 3, 2]


def test_an_episode_ends_where_the_next_row_goes_on_from_elsewhere(tmp_path: Path):
    arrays = flat_file(tmp_path / "a.hdf5", with_next=True)
    arrays["next_observations"][4] += 1
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["next_observations"][4] = arrays["next_observations"][4]
    storage = FileStorage(tmp_path / "ours")
    assert import_d4rl(storage, tmp_path / "a.hdf5").n_episodes == 5
    export_d4rl(TupliDataset(storage), tmp_path / "back.hdf5")
    arrays["timeouts"][4] = True
    assert_same_arrays(read(tmp_path / "back.hdf5"), arrays)


def test_what_was_recorded_goes_out_as_its_columns(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    env.store("poles")
    for seed in range(3):
        env.reset(seed=seed)
        while not any(env.step(seed % 2)[2:4]):
            pass
    env.close()
    export_d4rl(TupliDataset(storage), tmp_path / "out" / "poles.hdf5")
    found = read(tmp_path / "out" / "poles.hdf5")
    assert_same_arrays(found, TupliDataset(storage).convert_to_d4rl_format())


def test_infos_that_not_all_steps_have_are_told(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    flags: dict[str, Any] = {
        "rewards": [0.0],
        "terminals": [True],
        "observations": [[1.0]],
        "actions": [0],
    }
    oid = import_arrays(storage, "a", **flags, infos={"k": [1]}).benchmarks[0]
    storage.record(
        Steps(
            observations=[[1.0], [2.0]], actions=[0], rewards=[0.0], terminated=[True],
            truncated=[False], infos=[{"w": "word"}],
        ),
        oid,
    )  # fmt: skip
    report = export_d4rl(TupliDataset(storage), tmp_path / "x.hdf5")
    assert report.left_out == (
        "next_observations, as 1 episodes lack their last observation",
        "info 'k', which not all have",
        "infos that not every step has as a number",
    )


def test_composite_observations_have_no_place(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    import_arrays(
        storage, "d", observations={"a": np.zeros((2, 1)), "b": np.zeros(2)}, actions=[0, 1],
        rewards=[0.0, 1.0], terminals=[False, True],
        observation_space=spaces.Dict(a=spaces.Box(0, 1, (1,)), b=spaces.Box(0, 1, ())),
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match=r"D4RL has nothing else.*minari"):
        export_d4rl(TupliDataset(storage), tmp_path / "x.hdf5")
    assert list(tmp_path.iterdir()) == [tmp_path / "ours"]


def test_what_is_no_such_file_is_told(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    with pytest.raises(NotFoundError, match="nothing at"):
        import_d4rl(storage, tmp_path / "none")
    (tmp_path / "text").write_text("no")
    with pytest.raises(CorruptObjectError, match="no HDF5 file"):
        import_d4rl(storage, tmp_path / "text")
    arrays = flat_file(tmp_path / "a.hdf5", with_next=False)
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        del file["actions"]
    with pytest.raises(CorruptObjectError, match="lacks 'actions'"):
        import_d4rl(storage, tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["actions"] = arrays["actions"][:5]
    with pytest.raises(InvalidInputError, match="12 rewards and 5 rows of 'actions'"):
        import_d4rl(storage, tmp_path / "a.hdf5")
    assert storage.list_benchmarks() == []


def test_what_is_there_already_is_left_alone(tmp_path: Path):
    flat_file(tmp_path / "a.hdf5", with_next=False)
    storage = FileStorage(tmp_path / "ours")
    import_d4rl(storage, tmp_path / "a.hdf5")
    with pytest.raises(InvalidInputError, match="already"):
        export_d4rl(TupliDataset(storage), tmp_path / "a.hdf5")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_a_file_is_cut_into_pieces_its_episodes_are_the_same(data: Any, tmp_path: Path):
    n = data.draw(st.integers(1, 9), "steps")
    flags = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    ends = np.array(data.draw(flags, "flags"))
    jumps = np.array(data.draw(flags, "jumps")) == 3
    observations = np.arange(2.0 * n).reshape(n, 2)
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    with h5py.File(folder / "a.hdf5", "w") as file:
        file["observations"], file["actions"] = observations, np.arange(n)
        file["rewards"], file["infos/k"] = np.arange(n, dtype=np.float32)[:, None], np.arange(n)
        file["terminals"], file["timeouts"] = ends & 1 == 1, (ends & 2 == 2)[:, None]
        if data.draw(st.booleans(), "with_next"):
            following = np.concatenate([observations[1:], [[-1.0, np.nan]]])
            following[jumps] += 1
            file["next_observations"] = following
        else:
            jumps[:] = False
    found, ends_found = [], []
    for i, piece_bytes in enumerate((1, data.draw(st.integers(1, 600), "bytes"), 1 << 30)):
        storage = FileStorage(folder / str(i))
        report = import_d4rl(storage, folder / "a.hdf5", piece_bytes=piece_bytes)
        assert (report.n_steps, report.left_out) == (n, ())
        found.append([header.id for header in storage.episode_headers()])
        lengths = TupliDataset(storage).episode_lengths.tolist()
        ends_found.append(np.cumsum(lengths).tolist())
    last = (ends > 0) | jumps
    last[-1] = True
    assert found[0] == found[1] == found[2]
    assert ends_found == [(np.flatnonzero(last) + 1).tolist()] * 3


def test_no_more_is_read_at_once_than_was_asked_for(tmp_path: Path):
    n = 40_000
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["observations"] = file["next_observations"] = np.zeros((n, 100))
        file["actions"], file["rewards"] = np.zeros(n), np.zeros(n)
        file["terminals"] = np.arange(n) % 50 == 49
    storage = FileStorage(tmp_path / "ours")
    with storage.batch():  # once before, so that only the import is measured
        pass
    tracemalloc.start()
    try:
        report = import_d4rl(storage, tmp_path / "a.hdf5", piece_bytes=1 << 20)
        (_, most) = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.n_episodes == 800
    assert most < n * 100 * 8 / 2


def test_reference_scores_of_a_file_are_found_by_normalised_scores(tmp_path: Path):
    flat_file(tmp_path / "a.hdf5", with_next=True)
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["metadata/ref_min_score"] = -20.5
        file.attrs["ref_max_score"] = np.float32(3000)
        file.attrs["note"] = "by hand"
    storage = FileStorage(tmp_path / "ours")
    (oid,) = import_d4rl(storage, tmp_path / "a.hdf5").benchmarks
    extra = storage.benchmark(oid).metadata.extra
    assert extra == {"source": "d4rl", "ref_min_score": -20.5, "ref_max_score": 3000.0}
    dataset = TupliDataset(storage)
    expected = (dataset.returns() + 20.5) / 3020.5
    np.testing.assert_allclose(dataset.normalised_scores(), expected)
    assert "by hand" in storage.load_benchmark(oid).serialized


def test_whichever_bit_is_flipped_damage_is_told_in_one_line_or_harmless(tmp_path: Path):
    flat_file(tmp_path / "a.hdf5", with_next=True)
    whole, rng = (tmp_path / "a.hdf5").read_bytes(), np.random.default_rng(1)
    told = []
    for i, place in enumerate(rng.integers(0, len(whole), 60).tolist()):
        damaged = bytearray(whole)
        damaged[place : place + 8] = b"\xff" * 8
        (tmp_path / "b.hdf5").write_bytes(damaged)
        try:
            import_d4rl(FileStorage(tmp_path / f"ours-{i}"), tmp_path / "b.hdf5")
        except (CorruptObjectError, InvalidInputError) as err:
            told.append(str(err))
    assert told
    assert not any("\n" in message for message in told)


def test_an_array_whose_name_is_no_text_is_left_out(tmp_path: Path):
    flat_file(tmp_path / "a.hdf5", with_next=True)
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        h5py.h5d.create(file.id, b"odd\xff", h5py.h5t.NATIVE_INT8, h5py.h5s.create_simple((12,)))
    report = import_d4rl(FileStorage(tmp_path / "ours"), tmp_path / "a.hdf5")
    assert (report.n_steps, len(report.left_out)) == (12, 1)


def test_what_is_told_of_episodes_is_left_out_and_said(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    for number in range(2):
        steps = Steps(
            observations=np.arange(4.0), actions=np.arange(3), rewards=np.zeros(3),
            terminated=np.array([number == 1, False, True]), truncated=np.zeros(3, bool),
            infos=[{}] * 3, seed=0, options={"low": 1} if number else None, reset_info={"r": 1},
            metadata={"kind": "easy"},
        )  # fmt: skip
        storage.record(steps, benchmark(storage))
    assert export_d4rl(TupliDataset(storage), tmp_path / "out.hdf5").left_out == (
        "the seeds, of 2 episodes",
        "the options of reset, of 1 episodes",
        "what reset returned beside the observation, of 2 episodes",
        "the metadata, of 2 episodes",
        "that 1 episodes go on behind a flag, where a reader cuts them",
    )
