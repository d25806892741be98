"""pandas and pyarrow get a row per step, with what was recorded in it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.handover.episodes import ENDINGS, Truth, benchmark, record
from tupli_repo import Repository, Steps, TupliDataset
from tupli_repo.errors import InvalidInputError


def check(found: list[dict[str, Any]], truth: list[Truth], ids: list[str]) -> None:
    starts = np.cumsum([0, *(ending.n_steps for ending in ENDINGS)])
    assert len(found) == len(truth)
    for i, (row, one) in enumerate(zip(found, truth, strict=True)):
        assert row["episode"] == ids[one.episode]
        assert row["step"] == i - starts[one.episode]
        assert np.array_equal(row["observations"], one.state)
        assert np.array_equal(row["actions"], one.action)
        assert row["rewards"] == one.reward
        assert np.array_equal(row["next_observations"], one.next_state)
        assert row["terminated"] == one.terminated
        assert row["truncated"] == one.truncated


def test_a_data_frame_has_every_step(storage: Repository):
    pytest.importorskip("pandas")
    truth = record(storage)
    dataset = TupliDataset(storage)
    frame = dataset.to_dataframe()
    check(frame.to_dict("records"), truth, [header.id for header in dataset.preview()])
    assert frame["rewards"].dtype == np.float64
    assert frame["terminated"].dtype == bool
    lengths = frame.groupby("episode", observed=True, sort=False).size()
    assert lengths.tolist() == [ending.n_steps for ending in ENDINGS]
    assert list(dataset.to_dataframe("rewards")) == ["episode", "step", "rewards"]


def test_a_step_filter_keeps_where_a_row_comes_from(storage: Repository):
    pytest.importorskip("pandas")
    truth = record(storage)
    dataset = TupliDataset(storage).with_tuple_filter(lambda step: step.reward > 0)
    found = dataset.to_dataframe()
    wanted = [one for one in truth if one.reward > 0]
    assert found["rewards"].tolist() == [one.reward for one in wanted]
    assert found["step"].tolist() == [int(one.state[1]) for one in wanted]


def test_an_empty_dataset_is_an_empty_frame(storage: Repository):
    pytest.importorskip("pandas")
    assert len(TupliDataset(storage).to_dataframe()) == 0
    record(storage)
    none = TupliDataset(storage).with_tuple_filter(lambda step: False).to_dataframe()
    assert len(none) == 0
    kinds = {name: str(none[name].dtype) for name in ("observations", "rewards", "terminated")}
    assert kinds == {"observations": "object", "rewards": "float64", "terminated": "bool"}


def test_an_arrow_table_has_every_step(storage: Repository, tmp_path: Any):
    pyarrow: Any = pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    truth = record(storage)
    dataset = TupliDataset(storage)
    table = dataset.to_arrow()
    ids = [header.id for header in dataset.preview()]
    check(table.to_pylist(), truth, ids)
    assert table.schema.field("observations").type == pyarrow.list_(pyarrow.float32(), 3)
    assert table.schema.field("rewards").type == pyarrow.float64()
    parquet.write_table(table, tmp_path / "steps.parquet")
    check(parquet.read_table(tmp_path / "steps.parquet").to_pylist(), truth, ids)
    assert TupliDataset(storage).without(*ids).to_arrow().num_rows == 0


def test_arrays_of_several_axes_are_lists_of_lists(storage: Repository):
    pytest.importorskip("pyarrow")
    frames = np.arange(3 * 2 * 4, dtype="u1").reshape(3, 2, 4)
    steps = Steps(
        observations=frames,
        actions=np.arange(2),
        rewards=np.zeros(2),
        terminated=np.array([False, True]),
        truncated=np.zeros(2, bool),
        infos=[{}, {}],
    )
    storage.record(steps, benchmark(storage))
    table = TupliDataset(storage).to_arrow()
    assert table["observations"].to_pylist() == frames[:2].tolist()
    assert table["next_observations"].to_pylist() == frames[1:].tolist()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u8", ">i8", "f2", ">f4", "f8", "?"])
def test_parquet_gives_back_what_it_got(storage: Repository, tmp_path: Any, dtype: str):
    pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    column = np.random.default_rng(0).integers(0, 2, (4, 2, 3)).astype(dtype)
    steps = Steps(
        observations=column,
        actions=column[:3, 0, 0],
        rewards=np.zeros(3),
        terminated=np.zeros(3, bool),
        truncated=np.zeros(3, bool),
        infos=[{}] * 3,
    )
    storage.record(steps, benchmark(storage))
    parquet.write_table(TupliDataset(storage).to_arrow(), tmp_path / "steps.parquet")
    found = parquet.read_table(tmp_path / "steps.parquet")
    assert found["observations"].to_pylist() == column[:3].tolist()
    assert found["next_observations"].to_pylist() == column[1:].tolist()
    assert found["actions"].to_numpy().dtype == np.dtype(dtype).newbyteorder("=")


def test_what_arrow_does_not_have_is_said(storage: Repository):
    pytest.importorskip("pyarrow")
    steps = Steps(
        observations=np.zeros((2, 2), np.complex64),
        actions=np.zeros(1),
        rewards=np.zeros(1),
        terminated=np.ones(1, bool),
        truncated=np.zeros(1, bool),
        infos=[{}],
    )
    storage.record(steps, benchmark(storage))
    with pytest.raises(InvalidInputError, match="'observations' has dtype complex64"):
        TupliDataset(storage).to_arrow()
    none = replace(steps, observations=np.zeros((2, 0), np.float32), actions=np.ones(1))
    only = {storage.record(none, benchmark(storage, "none")).id}
    dataset = TupliDataset(storage)
    dataset = dataset.without(*(one for one in dataset.preview() if one.id not in only))
    with pytest.raises(InvalidInputError, match="'observations' are arrays of no numbers"):
        dataset.to_arrow()
    assert dataset.to_arrow(only="rewards")["rewards"].to_pylist() == [0.0]
    assert dataset.to_arrow(only=[]).column_names == ["episode", "step"]
