"""A store that is forgotten closes wherever garbage happens to be collected."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, sys, threading
from concurrent.futures import thread
from pathlib import Path

import numpy as np
from tupli_repo import FileStorage, Steps
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery

def forget(root, in_batch):
    storage = FileStorage(root)
    query = BenchmarkQuery(hash="0" * 64, serialized="{}", metadata=BenchmarkMetadata(name="b"))
    oid = storage.store_benchmark(query).id
    noise = np.random.default_rng(0)

    def record():
        steps = Steps(
            observations=noise.normal(size=(1001, 40)), actions=np.zeros(1000),
            rewards=np.zeros(1000), terminated=np.zeros(1000, bool),
            truncated=np.arange(1000) == 999, infos=[{}] * 1000,
        )
        storage.record(steps, oid)

    if in_batch:
        batch = storage.batch()
        batch.__enter__()
        storage.itself = batch  # so that the batch is forgotten with it, and not left before
    for _ in range(12):
        record()
    storage.myself = storage  # a cycle, which only a collection of garbage ends

gc.disable()
forget(sys.argv[1], sys.argv[2] == "batch")
with thread._global_shutdown_lock, threading._active_limbo_lock:  # as where a thread is started
    gc.collect()
packs = [path.name for path in Path(sys.argv[1]).rglob("*.pack")]
print(len(packs))
with FileStorage(sys.argv[1]) as again:
    print(len(again.list_episodes()))
"""


@pytest.mark.parametrize("how", ["one by one", "batch"])
def test_a_store_is_closed_where_its_thread_is_about_to_start_another(how: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "ours"), how],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    n_packs, n_episodes = map(int, done.stdout.split())
    assert n_packs >= 1
    assert n_episodes == 12
