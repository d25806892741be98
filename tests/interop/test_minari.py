"""Datasets of Minari come in and go out whole; Minari itself makes and reads them."""

import json
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.handover.episodes import benchmark
from tests.interop.minari_files import SPACES, assert_equal, assert_same_dataset, make
from tests.strategies import episodes, same
from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.errors import InvalidInputError, UnsupportedFormatError
from tupli_repo.interop import export_minari, import_minari
from tupli_repo.interop.minari.layout import FLAGS, FORMATS
from tupli_repo.schema import FilterEQ

h5py = pytest.importorskip("h5py")
pytest.importorskip("PIL")
minari = pytest.importorskip("minari")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("name", SPACES)
def test_a_dataset_goes_out_as_it_came_in(name: str, data_format: str, tmp_path: Path, monkeypatch):
    if data_format != "hdf5":
        pytest.importorskip("pyarrow")
    space = SPACES[name]
    action = SPACES["discrete"] if name == "image" else space
    made = make(
        f"lab/{name}/random-v3", space, action, (4, 1, 7), monkeypatch, tmp_path / "minari",
        author={"A", "B"}, description="a test", algorithm_name="dice",
        code_permalink="https://example.org", requirements=["numpy>=1"], jpeg_encoding=False,
        data_format=data_format,
    )  # fmt: skip
    storage = FileStorage(tmp_path / "ours")
    report = import_minari(storage, tmp_path / "minari" / "lab" / name / "random-v3")
    assert (report.n_episodes, report.n_steps, report.n_new) == (3, 12, 3)
    assert report.left_out == ()
    written = export_minari(TupliDataset(storage), tmp_path / "back", data_format=data_format)
    assert written.left_out == ()
    assert_same_dataset(made, minari.MinariDataset(tmp_path / "back" / "data"))


@pytest.mark.parametrize("name", ["box", "dict", "tuple", "text", "discrete"])
@pytest.mark.parametrize("data_format", FORMATS[1:])
def test_a_dataset_in_hdf5_goes_out_in_tables(
    name: str, data_format: str, tmp_path: Path, monkeypatch
):
    pytest.importorskip("pyarrow")
    made = make("d-v0", SPACES[name], SPACES[name], (4, 1, 7), monkeypatch, tmp_path / "m")
    storage = FileStorage(tmp_path / "ours")
    import_minari(storage, tmp_path / "m" / "d-v0")
    chosen = TupliDataset(storage).with_episode_filter(FilterEQ(key="metadata.score", value=0))
    report = export_minari(chosen, tmp_path / "one", data_format=data_format)
    assert report.left_out == (
        "info 'odd', which has rows for something else than the steps, of 1 episodes",
    )
    first = minari.MinariDataset(tmp_path / "one" / "data")[0].infos
    assert_equal(first["only_steps"], np.array([0, 0, 1, 2, 3], np.int16))
    assert_equal(first["speed"], made[0].infos["speed"])
    export_minari(TupliDataset(storage), tmp_path / "all", data_format=data_format)
    found = minari.MinariDataset(tmp_path / "all" / "data")
    for ours, theirs in zip(found, made, strict=True):
        for part in ("observations", "actions", "rewards", "terminations", "truncations"):
            assert_equal(getattr(ours, part), getattr(theirs, part), part)


def test_what_was_imported_reads_as_what_was_recorded(tmp_path: Path, monkeypatch):
    made = make(
        "d-v0", SPACES["dict"], SPACES["multi_discrete"], (3, 2), monkeypatch, tmp_path / "m"
    )
    storage = FileStorage(tmp_path / "ours")
    import_minari(storage, tmp_path / "m" / "d-v0")
    first, second = storage.read_episodes(h.id for h in storage.episode_headers())
    original = next(iter(made.iterate_episodes()))
    header, data = first
    assert [header.seed, second[0].seed] == [3, 2**63 + 5]
    assert header.metadata["score"] == 0.0
    assert header.metadata["nested"] == {"x": 0}
    assert second[1].record["options"] == {"low": 0.5, "more": {"n": 3}}
    assert data.observations[2]["a"]["t"] == original.observations["a"]["t"][2]
    assert data.layout.observation_space == made.observation_space
    assert data.record["reset_info"]["word"] == "wörd"
    assert data.infos[0]["word"] == "w0"
    np.testing.assert_array_equal(
        data.columns["infos/deep%2Fer%2Fcount"], original.infos["deep"]["er"]["count"][1:]
    )


def test_importing_again_adds_nothing_and_what_was_added_alone(tmp_path: Path, monkeypatch):
    made = make("d-v0", SPACES["box"], SPACES["box"], (3, 3), monkeypatch, tmp_path / "m")
    storage = FileStorage(tmp_path / "ours")
    first = import_minari(storage, tmp_path / "m" / "d-v0")
    before = storage.episode_headers()
    again = import_minari(storage, tmp_path / "m" / "d-v0" / "data")
    assert (again.n_episodes, again.n_new) == (2, 0)
    assert again.benchmarks == first.benchmarks
    assert storage.episode_headers() == before
    made.storage.update_episodes(
        minari.data_collector.EpisodeBuffer(
            observations=np.zeros((n + 1, 3), np.float32), actions=np.ones((n, 3), np.float32),
            rewards=[0.5] * n, terminations=[False] * n, truncations=[False] * n,
        )
        for n in (2, 2)
    )  # fmt: skip
    more = import_minari(storage, tmp_path / "m" / "d-v0")
    assert (more.n_episodes, more.n_new, more.benchmarks) == (4, 2, first.benchmarks)


def test_the_specification_of_the_environment_is_kept(tmp_path: Path, monkeypatch):
    env = gymnasium.make("CartPole-v1")
    made = make(
        "cartpole/x-v0", env.observation_space, env.action_space, (2,), monkeypatch,
        tmp_path / "m", env="CartPole-v1", eval_env="CartPole-v0",
    )  # fmt: skip
    storage = FileStorage(tmp_path / "ours")
    import_minari(storage, tmp_path / "m" / "cartpole" / "x-v0", name="poles")
    export_minari(TupliDataset(storage), tmp_path / "back")
    back = minari.MinariDataset(tmp_path / "back" / "data")
    assert back.env_spec.id == "CartPole-v1"
    assert_same_dataset(made, back)


@pytest.mark.parametrize("data_format", FORMATS)
def test_images_that_are_kept_as_jpeg_are_decoded(data_format: str, tmp_path: Path, monkeypatch):
    if data_format != "hdf5":
        pytest.importorskip("pyarrow")
    made = make(
        "d-v0", SPACES["image"], SPACES["discrete"], (2,), monkeypatch, tmp_path / "m",
        data_format=data_format,
    )  # fmt: skip
    storage = FileStorage(tmp_path / "ours")
    import_minari(storage, tmp_path / "m" / "d-v0")
    ((_, data),) = storage.read_episodes(h.id for h in storage.episode_headers())
    np.testing.assert_array_equal(data.columns["observations"], made[0].observations)


def test_what_was_recorded_here_is_loaded_by_minari(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "m"))
    storage = FileStorage(tmp_path / "ours")
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    env.store("poles", description="some poles")
    for seed in range(3):
        env.reset(seed=seed)
        while not any(env.step(seed % 2)[2:4]):
            pass
    env.close()
    report = export_minari(
        TupliDataset(storage).with_episode_filter(FilterEQ(key="seed", value=2)),
        tmp_path / "m" / "poles-v0",
    )
    assert (report.n_episodes, report.left_out) == (1, ())
    found = minari.load_dataset("poles-v0")
    columns = TupliDataset(storage).with_episode_filter(FilterEQ(key="seed", value=2)).columns()
    np.testing.assert_array_equal(found[0].observations, columns["observations"])
    assert found.storage.metadata["description"] == "some poles"
    assert [m["seed"] for m in found.storage.get_episode_metadata([0])] == [2]


def test_what_minari_has_no_place_for_is_told(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    env.env.observation_space = spaces.OneOf([spaces.Discrete(2), env.observation_space])
    env.store("poles")
    env.close()
    with pytest.raises(InvalidInputError, match="no episodes"):
        export_minari(TupliDataset(storage), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dataset_in_an_unknown_format_or_without_spaces_is_refused(tmp_path: Path):
    folder = tmp_path / "d" / "data"
    folder.mkdir(parents=True)
    metadata: dict[str, Any] = {"dataset_id": "d-v0", "data_format": "zarr"}
    for fault in ("is in 'zarr'", "does not tell its spaces"):
        (folder / "metadata.json").write_text(json.dumps(metadata))
        with pytest.raises(UnsupportedFormatError, match=fault):
            import_minari(FileStorage(tmp_path / "ours"), tmp_path / "d")
        metadata["data_format"] = "hdf5"


def parts_of(space: Any, samples: Any) -> list[Any]:
    """The arrays of samples, in the order of the space."""
    if isinstance(space, spaces.Dict):
        return [a for key, sub in space.spaces.items() for a in parts_of(sub, samples[key])]
    if isinstance(space, spaces.Tuple):
        pairs = zip(space.spaces, samples, strict=True)
        return [array for sub, part in pairs for array in parts_of(sub, part)]
    return [samples]


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(generated=episodes(), data_format=st.sampled_from(FORMATS))
def test_whatever_is_written_minari_reads(generated: Any, data_format: str, tmp_path: Path):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    storage = FileStorage(folder / "ours")
    observation, action = generated.observation_space, generated.action_space
    oid = benchmark(storage)
    storage.record(generated.steps, oid, observation_space=observation, action_space=action)
    try:
        export_minari(TupliDataset(storage), folder / "out", data_format=data_format)
    except InvalidInputError:
        return
    found = minari.MinariDataset(folder / "out" / "data")[0]
    columns = TupliDataset(storage).columns()
    n = len(found)
    for name, space in (("observations", observation), ("actions", action)):
        arrays = parts_of(space, getattr(found, name))
        expected = [c for key, c in columns.items() if key == name or key.startswith(f"{name}/")]
        for array, column in zip(arrays, expected, strict=True):
            assert same(array[: len(column)], column), name
    for name, theirs in FLAGS.items():
        assert same(getattr(found, name), columns[theirs]), name
    assert n == len(columns["rewards"])
