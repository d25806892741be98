"""Whoever lists, shows, compares or reads what is stored runs no code of what is stored.

A benchmark names classes of a module that writes a file when it is imported. The module can be
found, and is not imported. Python's own audit events are watched, in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import pathlib
from typing import Any
import gymnasium
import numpy as np
from gymnasium import spaces
from tupli_repo import TupliEnvWrapper

with open(pathlib.Path(__file__).parent / "imported", "a") as trace:
    trace.write("x")

class Engine:
    def __init__(self):
        self.power = 3.5

class Walk(gymnasium.Env):
    def __init__(self, wind=1.0):
        self.observation_space = spaces.Box(-9, 9, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.wind, self.engine, self.series = wind, Engine(), np.linspace(0, wind, 2000)
        self.t = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(2, self.t, np.float32), 1.0, self.t == 4, False, {"t": self.t}

class Hooked(TupliEnvWrapper):
    def _serialize(self, env):
        return env, []

    @classmethod
    def _deserialize(cls, env, storage):
        return env
"""

STORE = """
import windy_lab
from tupli_repo import FileStorage
from tupli_repo.schema import ArtifactMetadata, BenchmarkMetadata, BenchmarkQuery
storage = FileStorage("project")
for wind in (1.0, 2.0):
    env = windy_lab.Hooked(windy_lab.Walk(wind), storage)
    print(env.store(f"walk-{wind}"))
    for _ in range(2):
        env.reset(seed=1)
        while not env.step(0)[2]:
            pass
    env.flush()
evil = '{"py/reduce":[{"py/type":"windy_lab.Engine"},{"py/tuple":[]}]}'
query = BenchmarkQuery(hash="0" * 64, serialized=evil, metadata=BenchmarkMetadata(name="opaque"))
print(storage.store_benchmark(query).id)
print(storage.store_artifact(b"windy_lab", ArtifactMetadata(name="a")).id)
storage.close()
"""

WATCHED = """
import contextlib, io, json, os, sys
one, two, opaque, artifact = sys.argv[1:]
seen = []
class Looking:
    # sees what is looked for: importlib.import_module raises no audit event
    def find_spec(self, name, path=None, target=None):
        if name.startswith("windy_lab"):
            seen.append(("import", name))
sys.meta_path.insert(0, Looking())
def hook(event, args):
    if event.startswith(("pickle.", "subprocess.", "os.system", "os.exec")):
        seen.append((event, str(args)[:99]))
    if event == "open" and "windy_lab" in str(args[0]):
        seen.append((event, str(args)[:99]))
sys.addaudithook(hook)
done = []
def ran(name):
    done.append(name)

from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.cli import run
from tupli_repo.codec import env as codec
from tupli_repo.schema import FilterEQ

storage = FileStorage("project")
benchmarks = storage.list_benchmarks(); ran("list_benchmarks")
assert len(benchmarks) == 3
storage.list_benchmarks(FilterEQ(key="metadata.name", value="opaque")); ran("filter")
for uri in (one, two, opaque):
    text = storage.load_benchmark(uri).serialized; ran("load_benchmark")
    storage.benchmark(uri)
    if codec.is_document(text):
        assert codec.untrusted_names(text); ran("untrusted_names")
    if hasattr(storage, "provenance"):
        storage.provenance(uri), storage.changed_code(uri); ran("provenance")
storage.read_object(one), storage.load_artifact(artifact), storage.list_artifacts()
ran("read_object")
headers = storage.list_episodes(); ran("list_episodes")
assert len(headers) == 4
storage.list_episodes(include_tuples=True)
ids = [header.id for header in headers]
assert len(storage.load_episodes(ids).columns()["rewards"]) == 16; ran("load_episodes")
storage.load_episode(ids[0]), storage.read_episode(ids[0])
dataset = TupliDataset(storage).with_benchmark_filter(FilterEQ(key="id", value=one))
dataset.load(); ran("dataset")
assert len(dataset.tuples) == 8 and len(dataset.columns()["rewards"]) == 8
storage.status(), storage.usage(), storage.resolve(one[:9]); ran("status")
storage.remove([one]), storage.restore([one]); ran("remove")
if hasattr(storage, "diff"):
    assert storage.diff(one, two) is not None; ran("diff")
for refused in (one, opaque):
    try:
        TupliEnvWrapper.load(storage, refused, wrapper="ignore")
    except Exception as err:
        ran(type(err).__name__)
storage.close()
os.chdir("project")
commands = [
    ["list"], ["list", "episodes"], ["list", "artifacts"], ["show", one], ["show", opaque],
    ["show", ids[0]], ["cat", artifact], ["cat", one], ["status"], ["du"], ["remove", ids[0]],
    ["list", "benchmarks"], ["restore", ids[0]], ["restore"], ["diff", one, two],
    ["diff", one, opaque], ["trust"], ["fsck"], ["verify"],
    ["publish", one, "--episodes"], ["publish", opaque], ["pin", "figure"], ["publish", "figure"],
    ["init", "--bare", "../drive"], ["remote", "add", "origin", "../drive"],
    ["push"], ["clone", "../drive", "../copy"], ["pull"], ["fetch"], ["sync"], ["log"],
    ["bundle", "figure", "../figure.zip"], ["clone", "../figure.zip", "../figure"],
    ["unpublish", opaque], ["push", "--prune"], ["list", "names"], ["show", "figure"],
]
for command in commands:
    for options in ([], ["--json"]):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = run([*command, *options])
        ran(" ".join(command[:1]) + f": {status}")
os.chdir("..")
before = list(seen)
with FileStorage("project") as storage:  # the module is there, and the hook would have seen it
    env = TupliEnvWrapper.load(storage, one, trust=["windy_lab.*"], wrapper="ignore")
print(json.dumps([before, done, seen]))
"""


# fmt: off
COMMANDS = [
    "list", "show", "cat", "status", "du", "remove", "restore", "diff", "trust", "publish",
    "pin", "init", "remote", "push", "clone", "pull", "fetch", "sync", "log", "bundle",
    "unpublish",
]
# fmt: on


def run_python(program: str, folder: Path, user: str, *arguments: str) -> str:
    path = os.pathsep.join([str(folder / "modules"), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_CONFIG_HOME": str(folder / user),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "modules").mkdir()
    (folder / "modules" / "windy_lab.py").write_text(MODULE)
    ids = run_python(STORE, folder, "author").split()
    (folder / "modules" / "imported").unlink()
    return folder, json.loads(run_python(WATCHED, folder, "reader", *ids))


def test_nothing_of_what_is_stored_is_imported_or_unpickled(watched):
    _, (seen, done, _) = watched
    assert seen == []
    assert {"list_benchmarks", "load_episodes", "dataset", "remove", "untrusted_names"} <= {*done}


def test_every_command_did_its_work(watched):
    _, (_, done, _) = watched
    for command in COMMANDS:
        assert f"{command}: 0" in done
    assert "UntrustedCodeError" in done


def test_the_watch_sees_an_environment_that_is_loaded(watched):
    folder, (_, _, seen) = watched
    assert ["import", "windy_lab"] in seen
    assert (folder / "modules" / "imported").read_text() == "x"
