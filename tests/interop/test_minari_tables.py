"""Minari's Arrow and Parquet by pyarrow alone: what goes out comes back, and faults are told."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.handover.episodes import ENDINGS, benchmark, record
from tests.strategies import Generated, episodes, same
from tupli_repo import FileStorage, Repository, Steps, TupliDataset
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.interop import export_minari, import_minari
from tupli_repo.interop.minari.layout import FORMATS

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
pytest.importorskip("h5py")
TABLES = ("arrow", "parquet")
PLACE = spaces.Dict(
    pose=spaces.Box(-1, 1, (2, 3), np.float32),
    word=spaces.Text(5),
    more=spaces.Tuple([spaces.Discrete(9, start=2), spaces.MultiBinary(3), spaces.Box(0, 1, ())]),
)
LEVERS = spaces.MultiDiscrete([3, 4])


def episode(n: int, *, final: bool = True, **more: Any) -> Steps:
    """An episode of random samples with infos of every kind."""
    PLACE.seed(n)
    LEVERS.seed(n)
    rng = np.random.default_rng(n)
    given: dict[str, Any] = {
        "infos": [
            {
                "hit": bool(t % 2), "k": t, "speed": rng.normal(), "grid": rng.normal(size=(2, 2)),
                "word": f"w{t}", "deep": {"er": f"d{t}"},
            }
            for t in range(n)
        ],
        "reset_info": {"k": 7, "word": "first", "grid": np.ones((2, 2))},
        "metadata": {"score": 0.5, "tags": ["a", "b"], "nested": {"x": 1}, "n/a": None},
        "seed": 2**70 + n,
        "options": {"low": 0.5, "more": {"n": [1, 2]}},
    }  # fmt: skip
    return Steps(
        observations=[PLACE.sample() for _ in range(n + final)],
        actions=[LEVERS.sample() for _ in range(n)],
        rewards=rng.normal(size=n).astype(np.float32),
        terminated=np.arange(n) == n - 1,
        truncated=np.zeros(n, bool),
        **(given | more),
    )


def stored(storage: Repository, *episodes: Steps) -> TupliDataset:
    oid = benchmark(storage, "place")
    for i, one in enumerate(episodes):
        steps = replace(one, created_at=f"2026-01-01T00:00:00.{i:06d}Z")
        storage.record(steps, oid, observation_space=PLACE, action_space=LEVERS)
    return TupliDataset(storage)


def all_of(storage: Repository) -> list[Any]:
    return list(storage.read_episodes(h.id for h in storage.episode_headers()))


@pytest.mark.parametrize("data_format", TABLES)
def test_what_goes_out_comes_back(data_format: str, tmp_path: Path):
    storage, other = FileStorage(tmp_path / "ours"), FileStorage(tmp_path / "theirs")
    dataset = stored(storage, episode(4), episode(1), episode(3, final=False))
    report = export_minari(dataset, tmp_path / "out", data_format=data_format)
    assert report.left_out == (
        "the specification of the environment: it is not known",
        "the last observation, which is not known: zeros stand in its place, of 1 episodes",
    )
    assert import_minari(other, tmp_path / "out").left_out == ()
    for (header, data), (ours, expected) in zip(all_of(other), all_of(storage), strict=True):
        for name in expected.columns:
            if name.startswith("infos#"):
                continue
            assert data.columns[name].dtype == expected.columns[name].dtype, name
            np.testing.assert_array_equal(data.columns[name], expected.columns[name], name)
        assert [one["word"] for one in data.infos] == [one["word"] for one in expected.infos]
        assert [one["deep/er"] for one in data.infos] == [f"d{t}" for t in range(len(data))]
        reset_info = data.record["reset_info"]
        np.testing.assert_array_equal(reset_info.pop("grid"), np.ones((2, 2)))
        assert reset_info == {"k": 7, "word": "first"}
        assert data.layout.observation_space == PLACE
        assert (header.seed, data.record["options"]) == (ours.seed, expected.record["options"])
        assert header.metadata == ours.metadata


def test_a_table_has_a_row_more_than_steps_and_zeros_where_nothing_is(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    export_minari(stored(storage, episode(3)), tmp_path / "out", data_format="arrow")
    place = tmp_path / "out" / "data" / "0"
    assert sorted(path.name for path in place.iterdir()) == ["metadata.json", "part-0.arrow"]
    table = pa.ipc.open_file(place / "part-0.arrow").read_all()
    assert table.num_rows == 4
    assert table.column("rewards").type == pa.float32()
    assert table.column("actions").to_pylist()[3] == [0, 0]
    infos = table.column("infos").to_pylist()
    assert [one["k"] for one in infos] == [7, 0, 1, 2]
    assert [one["hit"] for one in infos] == [False, False, True, False]
    assert [one["deep"]["er"] for one in infos] == ["", "d0", "d1", "d2"]
    assert len(infos[0]["grid"]) == 4


def test_infos_that_not_all_episodes_have_are_told(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    odd = [{"k": t, "word": f"w{t}", "speed": t} for t in range(2)]  # 'speed' is no float here
    dataset = stored(storage, episode(3), episode(2, infos=odd))
    report = export_minari(dataset, tmp_path / "out", data_format="arrow")
    assert {
        "info 'grid', which not all episodes have alike, of 1 episodes",
        "info 'speed', which not all episodes have alike, of 2 episodes",
    } < set(report.left_out)
    table = pa.ipc.open_file(tmp_path / "out" / "data" / "0" / "part-0.arrow").read_all()
    assert {field.name for field in table.schema.field("infos").type} == {"k", "word"}
    assert export_minari(dataset, tmp_path / "whole").n_episodes == 2


def test_what_stands_below_another_info_is_told(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    infos = [{"a": t, "a/b": t, "c": t} for t in range(2)]
    dataset = stored(storage, episode(2, infos=infos, reset_info={}, metadata={}))
    for data_format in ("hdf5", "arrow"):
        report = export_minari(dataset, tmp_path / data_format, data_format=data_format)
        assert report.left_out[1:] == (
            "info 'a', as there are infos below that name, of 1 episodes",
        )


def test_what_minari_would_not_read_whole_is_refused(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    n = 1 << 17
    rows = dict.fromkeys(("observations", "actions", "rewards"), np.zeros(n))
    flags = dict.fromkeys(("terminated", "truncated"), np.zeros(n, bool))
    number = spaces.Box(0, 1, ())
    storage.record(
        Steps(**rows, **flags, infos=[{}] * n),  # type: ignore[arg-type] # by their names
        benchmark(storage),
        observation_space=number,
        action_space=number,
    )
    with pytest.raises(InvalidInputError, match=r"131072 steps.*HDF5"):
        export_minari(TupliDataset(storage), tmp_path / "out", data_format="parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_two_users_import_the_same_episodes_by_the_datasets_authors(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    record(storage, ENDINGS)
    export_minari(TupliDataset(storage), tmp_path / "out", data_format="arrow")
    file = tmp_path / "out" / "data" / "metadata.json"
    raw = json.loads(file.read_text())
    ids = []
    for user, authors in (("Ada", ["B", "A"]), ("Grace", ["A", "B"])):
        raw |= {"author": authors, "ref_min_score": -1.5, "ref_max_score": 10}
        file.write_text(json.dumps(raw))
        other = FileStorage(tmp_path / user)
        other.settings = other.settings.model_copy(update={"user_name": user})
        import_minari(other, tmp_path / "out", benchmark_id=benchmark(other))
        headers = other.episode_headers()
        assert {header.created_by for header in headers} == {"A, B"}
        ids.append([header.id for header in headers])
    assert ids[0] == ids[1]


def test_reference_scores_are_found_by_normalised_scores_and_go_out_again(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    oid = benchmark(storage, "walk", ref_min_score=-1.5, ref_max_score=10.5, author="Ada",
                    algorithm_name=3, requirements=["numpy"])  # fmt: skip
    record(storage, ENDINGS, into=oid)
    report = export_minari(TupliDataset(storage), tmp_path / "out", data_format="arrow")
    assert "'algorithm_name' of the benchmark, which is not as Minari has it" in report.left_out
    raw = json.loads((tmp_path / "out" / "data" / "metadata.json").read_text())
    assert (raw["ref_min_score"], raw["ref_max_score"], raw["author"]) == (-1.5, 10.5, ["Ada"])
    assert raw["requirements"] == ["numpy"]
    other = FileStorage(tmp_path / "other")
    import_minari(other, tmp_path / "out")
    dataset = TupliDataset(other)
    np.testing.assert_allclose(dataset.normalised_scores(), (dataset.returns() + 1.5) / 12)
    assert {header.created_by for header in dataset.preview()} == {"Ada"}
    export_minari(dataset, tmp_path / "again", data_format="arrow")
    again = json.loads((tmp_path / "again" / "data" / "metadata.json").read_text())
    assert again.pop("dataset_size") == raw.pop("dataset_size")
    assert again == raw


@pytest.mark.parametrize("fault", ["gone", "twice", "short", "no JSON", "no actions"])
def test_a_damaged_dataset_is_told(fault: str, tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    record(storage, ENDINGS[:3])
    export_minari(TupliDataset(storage), tmp_path / "out", data_format="arrow")
    place = tmp_path / "out" / "data" / "1"
    table = place / "part-0.arrow"
    match fault:
        case "gone":
            table.unlink()
        case "twice":
            (place / "part-1.arrow").write_bytes(table.read_bytes())
        case "short":
            table.write_bytes(table.read_bytes()[:100])
        case "no JSON":
            (place / "metadata.json").write_text("{")
        case "no actions":
            found = pa.ipc.open_file(table).read_all().drop_columns(["actions"])
            with pa.ipc.new_file(str(table), found.schema) as sink:
                sink.write_table(found)
    with pytest.raises(CorruptObjectError, match="no dataset as Minari writes it"):
        import_minari(FileStorage(tmp_path / "other"), tmp_path / "out")


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(generated=episodes(), data_format=st.sampled_from(FORMATS))
def test_whatever_was_recorded_comes_back_or_is_told(
    generated: Generated, data_format: str, tmp_path: Path
):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    storage, other = FileStorage(folder / "ours"), FileStorage(folder / "theirs")
    steps, observation_space, action_space = generated
    spaces_given = {"observation_space": observation_space, "action_space": action_space}
    storage.record(steps, benchmark(storage), **spaces_given)
    try:
        export_minari(TupliDataset(storage), folder / "out", data_format=data_format)
    except InvalidInputError:
        assert not (folder / "out").exists()
        return
    report = import_minari(other, folder / "out")
    assert all("cannot be stored" in one for one in report.left_out)  # of metadata, as HDF5 has it
    ((header, data),), ((ours, expected),) = all_of(other), all_of(storage)
    for name, column in expected.columns.items():
        if not name.startswith("infos"):
            assert same(data.columns[name], column), name
    assert header.seed == ours.seed
    assert data.layout.observation_space == observation_space


def test_a_list_that_goes_on_behind_its_buffer_is_damage(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    stored(storage, episode(4))
    export_minari(TupliDataset(storage), tmp_path / "out", data_format="arrow")
    part = tmp_path / "out" / "data" / "0" / "part-0.arrow"
    with pa.OSFile(str(part)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
    n = batch.num_rows
    ends = pa.py_buffer(np.array([*range(n - 1), 1 << 30, n], np.int32))
    words = pa.StringArray.from_buffers(n, ends, pa.py_buffer(b"x" * n))
    infos = pa.StructArray.from_arrays([words], names=["word"])
    names = batch.schema.names
    columns = [infos if name == "infos" else batch.column(name) for name in names]
    damaged = pa.RecordBatch.from_arrays(columns, names=names)
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, damaged.schema) as writer:
        writer.write_batch(damaged)
    with pytest.raises(CorruptObjectError, match="no dataset as Minari writes it"):
        import_minari(FileStorage(tmp_path / "theirs"), tmp_path / "out")


def test_values_that_are_told_of_and_not_there_are_damage(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    storage = FileStorage(tmp_path / "ours")
    stored(storage, episode(4))
    export_minari(TupliDataset(storage), tmp_path / "out")
    with h5py.File(tmp_path / "out" / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/rewards"]
        file["episode_0"].create_dataset("rewards", (1 << 50,), "f4", chunks=(1 << 20,))
    with pytest.raises(CorruptObjectError, match="less than the"):
        import_minari(FileStorage(tmp_path / "theirs"), tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset_id": 5},
        {"total_episodes": "many"},
        {"observation_space": '{"type": "Dict", "subspaces": [1]}'},
        {"observation_space": "[" * 100_000},
        {"action_space": '{"type": "Discrete", "n": 1' + "0" * 40 + ', "start": 0}'},
    ],
)
def test_metadata_that_cannot_be_are_told(changes: dict[str, Any], tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    stored(storage, episode(4))
    export_minari(TupliDataset(storage), tmp_path / "out")
    file = tmp_path / "out" / "data" / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises((CorruptObjectError, InvalidInputError)) as caught:
        import_minari(FileStorage(tmp_path / "theirs"), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_paths_that_two_things_have_and_what_is_empty_are_told(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    info = {"a/b": 1.0, "a": {"b": "x"}, "e": {}}
    one = episode(
        2, infos=[info] * 2, reset_info={"r": {}}, metadata={"a": {"b": 2}, "a/b": 1}, options={}
    )
    report = export_minari(stored(storage, one), tmp_path / "out")
    assert set(report.left_out[1:]) == {
        "info 'a/b', which there is twice, of 1 episodes",
        "info 'e', which is empty, of 1 episodes",
        "'r' of what reset returned, which is empty, of 1 episodes",
        "'a/b' of the metadata, which there is twice, of 1 episodes",
        "'options' of the metadata, which is empty, of 1 episodes",
    }


def test_a_space_without_parts_has_no_place_in_tables(tmp_path: Path):
    storage, empty = FileStorage(tmp_path / "ours"), spaces.Dict({})
    one = replace(episode(2), observations=[{}] * 3)
    storage.record(one, benchmark(storage), observation_space=empty, action_space=LEVERS)
    with pytest.raises(InvalidInputError, match="'observations' has no parts"):
        export_minari(TupliDataset(storage), tmp_path / "out", data_format="arrow")
