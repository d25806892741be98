"""Memory, interrupts, permissions and full disks: seen from outside, in processes of their own."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from tests.envs import Walk
from tests.faults import FailingFileSystem, full_disk
from tupli_repo import FileStorage, Repository, TupliDataset, TupliEnvWrapper
from tupli_repo.codec.records import ArtifactBody
from tupli_repo.errors import AmbiguousNameError, StorageIOError, TupliError
from tupli_repo.odb.objects import Kind, Object, encode, object_id
from tupli_repo.schema import ArtifactMetadata

ROOT = Path(__file__).parent.parent
MIB = 1 << 20
PRELUDE = """
import resource, sys
import numpy as np
from pathlib import Path
from tupli_repo import FileStorage, Repository, Steps, TupliDataset
from tupli_repo.schema import ArtifactMetadata, BenchmarkMetadata, BenchmarkQuery

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def benchmark(storage):
    words = BenchmarkMetadata(name="large")
    return storage.store_benchmark(BenchmarkQuery(hash="0", serialized="{}", metadata=words)).id

def episode(generator, n, width):
    observations = generator.integers(0, 100, size=(n + 1, width)).astype(np.float32)
    flags = [False] * n
    return Steps(observations=observations, actions=observations[1:, :2], rewards=[1.0] * n,
                 terminated=flags, truncated=flags, infos=[{}] * n)
"""


def run(program: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module there")
def test_loading_columns_takes_little_more_than_the_arrays(tmp_path: Path):
    run(
        """
        with FileStorage(sys.argv[1]) as storage:
            name, generator = benchmark(storage), np.random.default_rng(0)
            for _ in range(300):
                storage.record(episode(generator, 1000, 100), name)
        """,
        tmp_path,
    )
    told = run(
        """
        dataset = TupliDataset(FileStorage(sys.argv[1]))
        dataset.preview()
        before = peak_mib()
        columns = dataset.columns()
        print((peak_mib() - before) / (sum(c.nbytes for c in columns.values()) / 2**20))
        only = TupliDataset(FileStorage(sys.argv[1])).columns(only=["rewards"])
        assert list(only) == ["rewards"] and len(only["rewards"]) == 300_000
        """,
        tmp_path,
    )
    assert float(told) < 1.5


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module there")
def test_a_large_artifact_is_streamed_in_and_out(tmp_path: Path):
    told = run(
        """
        storage, path = FileStorage(sys.argv[1]), Path(sys.argv[2])
        with path.open("wb") as file:
            for number in range(400):
                file.write(np.random.default_rng(number % 7).bytes(2**20))
        before = peak_mib()
        stored = storage.store_artifact(path, ArtifactMetadata(name="large"))
        with path.open("rb") as file:
            again = storage.store_artifact(file, ArtifactMetadata(name="large"))
        assert stored == again and stored.size == 400 * 2**20
        assert sum(map(len, storage.read_artifact(stored.id))) == stored.size
        print(peak_mib() - before)
        """,
        tmp_path / "repository",
        tmp_path / "large.bin",
    )
    assert float(told) < 100


@pytest.mark.slow
def test_listing_a_hundred_thousand_episodes_takes_little_memory(tmp_path: Path):
    run(
        """
        with FileStorage(sys.argv[1]) as storage:
            name, generator = benchmark(storage), np.random.default_rng(0)
            one = episode(generator, 5, 3)
            for _ in range(100_000):
                storage.record(one, name)
        """,
        tmp_path,
    )
    program = """
        headers = Repository(sys.argv[1]).list_episodes()
        assert len(headers) == 100_000
        print(peak_mib())
    """
    assert [float(run(program, tmp_path)) < 200 for _ in ("cold", "warm")] == [True, True]


RECORD = """
    import signal
    import sys
    from tests.envs import Walk
    from tupli_repo import FileStorage, TupliEnvWrapper
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    storage = FileStorage(sys.argv[1])
    env = TupliEnvWrapper(Walk(), storage, sys.argv[2])
    seed = 0
    while True:
        env.reset(seed=seed)
        while not any(env.step(1)[2:4]):
            pass
        env.flush()
        print(seed, flush=True)
        seed += 1
"""


@pytest.mark.parametrize("pause_s", [0.01, 0.1, 0.3])
def test_an_interrupt_loses_nothing_that_was_acknowledged(tmp_path: Path, pause_s: float):
    storage = FileStorage(tmp_path)
    benchmark = TupliEnvWrapper(Walk(), storage).store("walk")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RECORD), str(tmp_path), benchmark],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause_s)
        process.send_signal(signal.SIGINT)
        told = process.stdout.read()
    acknowledged = {0, *map(int, told.split())}
    dataset = TupliDataset(storage)
    dataset.load()
    assert acknowledged <= {episode.seed for episode in dataset.episodes}
    assert len(dataset.episodes) <= len(acknowledged) + 1


HOMELESS = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/x", "XDG_CONFIG_HOME": "/x"}
BECOME_ANOTHER = """
import os, pkgutil, sys
from importlib import import_module
import rich.console, rich.table, tupli_repo
for module in pkgutil.walk_packages(tupli_repo.__path__, "tupli_repo."):
    if not module.name.endswith("__main__"):
        import_module(module.name)  # what is imported may lie where only root can read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
"""


def other_user(program: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a program as somebody who is not root."""
    return subprocess.run(
        [sys.executable, "-c", BECOME_ANOTHER + textwrap.dedent(program), *map(str, arguments)],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT), **HOMELESS},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can become somebody else"
)
def test_a_folder_that_may_not_be_written_is_told_and_can_be_read(tmp_path: Path):
    storage = FileStorage(tmp_path / "shared")
    env = TupliEnvWrapper(Walk(), storage)
    env.store("walk")
    env.reset(seed=1)
    while not any(env.step(1)[2:4]):
        pass
    env.close()
    storage.close()
    temporary = Path(tempfile.gettempdir()).resolve()
    for folder in (tmp_path, *tmp_path.parents):
        if temporary in folder.parents:  # of this test run; the temporary folder is everybody's
            folder.chmod(folder.stat().st_mode | 0o055)
    command = "from tupli_repo.cli import run; import sys; sys.exit(run(sys.argv[1:]))"
    home = storage.storage_dir
    made = other_user(command, "init", home / "mine")
    assert made.returncode == 1
    assert made.stderr.startswith(f"error: cannot make '{home / 'mine'}': permission denied")
    assert "hint: check the permissions" in made.stderr
    removed = other_user(command, "-C", home, "remove", storage.list_episodes()[0].id)
    assert removed.returncode == 1
    assert "permission denied" in removed.stderr
    assert "Traceback" not in removed.stderr
    listed = other_user(command, "-C", home, "list", "episodes", "--json")
    assert listed.returncode == 0
    assert '"seed": 1' in listed.stdout
    loaded = """
        import sys
        from tupli_repo import Repository, TupliDataset
        print(len(TupliDataset(Repository(sys.argv[1])).columns()["rewards"]))
    """
    assert int(other_user(loaded, home).stdout) == storage.list_episodes()[0].n_tuples


def test_a_full_disk_is_told_in_one_line_with_a_hint(tmp_path: Path):
    FileStorage(tmp_path)
    fs = FailingFileSystem(2, full_disk())
    repository = Repository(tmp_path, fs=fs)
    with pytest.raises(StorageIOError, match="no space left on device") as caught:
        repository.store_artifact(b"x" * 1000, ArtifactMetadata(name="x"))
    assert "free some space" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert Repository(tmp_path).list_artifacts() == []


def test_an_ambiguous_prefix_names_the_candidates(tmp_path: Path):
    storage = FileStorage(tmp_path)
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes
    seen: dict[str, tuple[str, str]] = {}
    twins: list[tuple[str, str]] = []
    for number in range(200_000):
        body = ArtifactBody(name=f"a{number}", hash=digest, size=0).dump()
        oid = object_id(encode(Object(kind=Kind.ARTIFACT, body=body)))
        if oid[:7] in seen:
            twins = [seen[oid[:7]], (oid, f"a{number}")]
            break
        seen[oid[:7]] = (oid, f"a{number}")
    ids = [storage.store_artifact(b"", ArtifactMetadata(name=name)).id for _, name in twins]
    assert ids == [oid for oid, _ in twins]
    with pytest.raises(AmbiguousNameError) as caught:
        storage.load_artifact(ids[0][:7])
    assert all(oid[:16] in caught.value.message for oid in ids)
    assert storage.load_artifact(ids[0]) == b""


def test_every_error_has_one_line_and_the_root_catches_all(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    storage = FileStorage(tmp_path / "repository")
    (storage.root / "packs").rename(storage.root / "elsewhere")
    (storage.root / "packs").write_text("a file where a folder should be")
    with pytest.raises(TupliError) as caught:
        storage.list_episodes()
    assert "packs'" in caught.value.message
    assert "\n" not in str(caught.value)
    with pytest.raises(TupliError, match="is not a folder"):
        FileStorage(tmp_path / "file" / "inside")
