"""Three people, one drive, real processes: what the whole is for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tupli_repo

PROJECT = Path(__file__).parents[1]
MODULE = Path(tupli_repo.__file__).parent / "cli" / "windy_mountain_car.py"

RECORD = """
import sys
import numpy as np
from gymnasium.wrappers import TimeLimit
from tupli_repo import FileStorage
from windy_mountain_car import WindyMountainCar, WindyWrapper

count, seed = int(sys.argv[1]), int(sys.argv[2])
wind = np.random.default_rng(0).normal(0.0, 0.3, size=500)
with FileStorage(".") as storage:
    env = WindyWrapper(TimeLimit(WindyMountainCar(wind), 20), storage)
    env.store("windy-car", difficulty="hard")
    env.action_space.seed(seed)
    for n in range(count):
        env.reset(seed=seed + n)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
    env.close()
    print(env.id)
"""
LOAD = """
import sys
from tupli_repo import FileStorage
from windy_mountain_car import WindyWrapper

with FileStorage(".") as storage:
    env = WindyWrapper.load(storage, "windy-car")
    observation, _ = env.reset(seed=3)
    print(type(env.unwrapped).__name__, observation.tolist(), float(env.unwrapped.wind.sum()))
"""
ARRAYS = """
import json, sys
from hashlib import sha256
from tupli_repo import FileStorage, TupliDataset

with FileStorage(".") as storage:
    dataset = TupliDataset.from_pin(storage, sys.argv[1])
    arrays = dataset.convert_to_d4rl_format()
    print(json.dumps({
        "digest": dataset.digest,
        "ids": [header.id for header in dataset.preview()],
        "arrays": {
            name: [str(a.dtype), list(a.shape), sha256(a.tobytes()).hexdigest()]
            for name, a in sorted(arrays.items())
        },
    }))
"""


class Person:
    """Somebody with a home, a project folder, and the commands they type."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.folder = root / name / "project"
        self.environment = {
            "PATH": "",
            "PYTHONPATH": str(PROJECT),
            "HOME": str(root / name),
            "XDG_CONFIG_HOME": str(root / name / "config"),
            "XDG_CACHE_HOME": str(root / name / "cache"),
        }

    def run(self, *command: str, status: int = 0) -> str:
        """Run Python with some arguments in the project's folder."""
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            cwd=self.folder if self.folder.exists() else self.folder.parent,
            env=self.environment,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    def tupli(self, *arguments: str) -> Any:
        """Run a command and return what it prints as JSON."""
        return json.loads(self.run("-m", "tupli_repo", *arguments, "--json"))

    def writes_code(self) -> None:
        """Have the module of the environment in the project."""
        shutil.copy(MODULE, self.folder)

    def plays(self, count: int, seed: int) -> str:
        """Record episodes; returns the benchmark's id."""
        return self.run("-c", RECORD, str(count), str(seed)).strip()


@pytest.fixture
def people(tmp_path: Path) -> list[Person]:
    found = [Person(tmp_path, name) for name in ("ada", "ben", "cyd")]
    for one in found:
        one.folder.parent.mkdir()
    return found


def test_three_people_share_one_benchmark_over_a_drive(tmp_path, people):
    ada, ben, cyd = people
    drive = str(tmp_path / "drive")

    # Ada records, publishes and pushes
    ada.folder.mkdir()
    ada.tupli("init")
    ada.tupli("init", "--bare", drive)
    ada.tupli("remote", "add", "origin", drive)
    ada.writes_code()
    benchmark = ada.plays(100, seed=0)
    published = ada.tupli("publish", "windy-car", "--episodes", "-m", "random policy")
    assert published["n_added"] == 100
    pushed = ada.tupli("push")
    assert (pushed["n_episodes"], pushed["is_clean"]) == (100, True)

    # Ben clones; the environment runs when he says so, and not before
    ben.tupli("clone", drive, str(ben.folder))
    assert ben.tupli("status")["episodes"] == 100
    ben.writes_code()
    refused = ben.run("-c", LOAD, status=1)
    assert "UntrustedCodeError" in refused
    assert "windy_mountain_car.WindyMountainCar" in refused
    ben.tupli("trust", "windy_mountain_car.*")
    assert ben.run("-c", LOAD) == ada.run("-c", LOAD)
    assert ben.plays(100, seed=1000) == benchmark
    ben.tupli("publish", "windy-car", "--episodes")
    ben.tupli("push")

    # Ada meanwhile published more, and pins what her figure shows
    ada.plays(50, seed=2000)
    ada.tupli("publish", "windy-car", "--episodes")
    pushed = ada.tupli("push")
    assert (pushed["n_episodes"], pushed["diverged"], pushed["is_clean"]) == (50, [], True)
    ada.tupli("pull")
    pin = ada.tupli("pin", "figure-3", "--benchmark", "windy-car", "-m", "figure 3")
    assert pin["episodes"] == 250
    citable = ada.tupli("publish", "figure-3")["releases"][0]["revision"]
    ada.tupli("push")

    # Cyd reads the paper, and loads exactly that
    cyd.tupli("clone", drive, str(cyd.folder), "--expect", pin["digest"])
    ben.tupli("sync")
    everybody = [
        json.loads(one.run("-c", ARRAYS, f"figure-3@{citable[:12]}")) for one in (ada, ben, cyd)
    ]
    assert everybody[0] == everybody[1] == everybody[2]
    assert everybody[0]["digest"] == pin["digest"]
    assert len(everybody[0]["ids"]) == 250
    assert everybody[0]["arrays"]["observations"][1] == [5000, 2]
    shown = [one.tupli("show", f"figure-3@{citable[:12]}") for one in (ada, ben, cyd)]
    assert shown[0] == shown[1] == shown[2]
    logs = [[item["revision"] for item in one.tupli("log", "windy-car")] for one in (ada, ben, cyd)]
    assert logs[0] == logs[1] == logs[2]
    assert len(logs[0]) == 4  # three that were published, and their union
    for one in (ada, ben, cyd):
        assert [report["n_objects"] for report in one.tupli("sync")] == [0, 0]
