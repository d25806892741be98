"""How fast a large dataset of Minari's comes in, beside how fast Minari itself reads it."""

from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from gymnasium import spaces

from tests.handover.episodes import benchmark
from tupli_repo import FileStorage, Steps, TupliDataset
from tupli_repo.interop import export_minari, import_minari

N_EPISODES, N_STEPS = 10_000, 50
LEAST = 0.7
"""Of the speed at which Minari reads, in processor time: what else runs here does not count."""
ROUNDS = 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_ten_thousand_episodes_come_in_nearly_as_fast_as_minari_reads_them(
    data_format: str, tmp_path: Path, record_property: Callable[[str, object], None]
):
    minari = pytest.importorskip("minari")
    pytest.importorskip({"hdf5": "h5py", "arrow": "pyarrow"}[data_format])
    rng = np.random.default_rng(1)
    with FileStorage(tmp_path / "source") as source:
        oid, last = benchmark(source), np.arange(N_STEPS) == N_STEPS - 1
        with source.batch():
            for _ in range(N_EPISODES):
                steps = Steps(
                    observations=rng.normal(size=(N_STEPS + 1, 4)).astype(np.float32),
                    actions=rng.integers(0, 2, N_STEPS),
                    rewards=np.ones(N_STEPS),
                    terminated=last,
                    truncated=last & False,
                    infos=[{}] * N_STEPS,
                )
                source.record(
                    steps, oid, observation_space=spaces.Box(-9, 9, (4,)),
                    action_space=spaces.Discrete(2),
                )  # fmt: skip
        export_minari(TupliDataset(source), tmp_path / "out", data_format=data_format)
    reading, importing = [], []
    for i in range(ROUNDS):  # in turn, so that a busy moment hits both
        start = process_time()
        dataset = minari.MinariDataset(tmp_path / "out" / "data")
        n_read = sum(len(episode) for episode in dataset)
        reading.append(process_time() - start)
        with FileStorage(tmp_path / f"ours-{i}") as ours:
            start = process_time()
            report = import_minari(ours, tmp_path / "out")
            importing.append(process_time() - start)
        assert (report.n_new, report.n_steps) == (N_EPISODES, n_read)
    ratio = min(reading) / min(importing)
    record_property("seconds of Minari", min(reading))
    record_property("seconds of ours", min(importing))
    assert ratio >= LEAST, f"read in {min(reading):.1f} s, imported in {min(importing):.1f} s"
