"""A repository whose benchmarks name classes of a module, and programs that are seen to import it.

The module can be found, and writes a file when it is imported. Python's own audit events are
watched, in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

_MODULE = """
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

_STORE = """
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

_WATCH = """
import sys
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
"""


def store_some(folder: Path) -> list[str]:
    """Make a repository in ``folder / "project"``; returns the ids of what is stored there."""
    (folder / "modules").mkdir()
    (folder / "modules" / "windy_lab.py").write_text(_MODULE)
    ids = _run(_STORE, folder, "author").split()
    trace_in(folder).unlink()
    return ids


def watched(program: str, folder: Path, *arguments: str) -> str:
    """Run a program as another user; returns what it prints. What it does is in its `seen`."""
    return _run(_WATCH + program, folder, "reader", *arguments)


def trace_in(folder: Path) -> Path:
    """The file that is there once the module has been imported."""
    return folder / "modules" / "imported"


def _run(program: str, folder: Path, user: str, *arguments: str) -> str:
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
