"""Golden ids: the SHA-256 of documents that must not change with any package's version.

``python -m tests.codec.env.golden`` compares; ``--write`` writes ``golden_ids.json`` anew;
``--matrix`` compares in fresh virtual environments with other versions and prints a table.
Exit status: 0 all agree, 1 something differs or could not be made.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import venv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from tests.codec.env import sample_envs
from tests.codec.env.families import STACKS, made
from tupli_repo.codec.env import encode

IDS_FILE = Path(__file__).parent / "golden_ids.json"
ROOT = Path(__file__).parents[3]

MATRIX = [
    ("numpy==1.26.4", "gymnasium==1.0.0", "jsonpickle==4.1.0"),
    ("numpy==1.26.4", "gymnasium", "jsonpickle"),
    ("numpy==2.0.0", "gymnasium==1.0.0", "jsonpickle"),
    ("numpy", "gymnasium==1.1.1", "jsonpickle==4.1.0"),
    ("numpy", "gymnasium", "jsonpickle==4.1.0"),
    ("numpy", "gymnasium", "jsonpickle"),
]
"""The stacks that are compared, oldest first; without a version, the newest there is."""

MEANS_THE_SAME = {
    "classic-control": [
        "CartPole-v0",
        "CartPole-v1",
        "Pendulum-v1",
        "MountainCar-v0",
        "MountainCarContinuous-v0",
        "Acrobot-v1",
    ],
    "toy-text": ["FrozenLake-v1", "FrozenLake8x8-v1", "Blackjack-v1"],
}
"""Ids that exist in gymnasium 1.0 and now, and are the same environment in both."""


def golden() -> dict[str, Callable[[], Any]]:
    """The environments whose ids are kept, by name."""
    found: dict[str, Callable[[], Any]] = {
        env_id: functools.partial(made, env_id) for ids in MEANS_THE_SAME.values() for env_id in ids
    }
    found |= STACKS
    del found["timed"]  # gymnasium 1.0 cannot make that wrapper again without a spec
    found |= {
        "pendulum on the moon": functools.partial(made, "Pendulum-v1", g=1.62),
        "a short pendulum": lambda: _with(made("Pendulum-v1"), "l", 0.5),
        "a slow cart": lambda: _with(made("CartPole-v1"), "tau", 0.1),
        "a map of one's own": functools.partial(made, "FrozenLake-v1", desc=["SFF", "FHF", "FFG"]),
        "ice without wind": functools.partial(made, "FrozenLake-v1", is_slippery=False),
        "a long run": functools.partial(made, "MountainCar-v0", max_episode_steps=1000),
        "numbers": lambda: sample_envs.Holder([0.1, -0.0, 1e300, 1 << 70, float("nan"), 2.5j]),
        "arrays": lambda: sample_envs.Holder(
            [np.arange(6).reshape(2, 3), np.float32(0.1), np.zeros((9, 9)), np.array(["a", "é"])]
        ),
        "spaces": lambda: sample_envs.Holder(sample_envs.Everything().spaces),
        "texts": lambda: sample_envs.Holder({"é": "\x00\ud800", "py/id": 1, (1, "a"): b"\xff"}),
        "sets": lambda: sample_envs.Holder([{3, 1, 2}, frozenset("abc"), {(1, 2), (0, 5)}]),
        "a wind in a list": lambda: sample_envs.WindyMountainCar([0.1, 0.2]),
    }
    return found


def _with(env: Any, name: str, value: Any) -> Any:
    setattr(env.unwrapped, name, value)
    return env


def ids() -> dict[str, str]:
    """The SHA-256 of each golden document, as this process computes it."""
    return {name: _id_or_error(make) for name, make in golden().items()}


def _id_or_error(make: Callable[[], Any]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return encode(make()).sha256
        except Exception as err:  # noqa: BLE001 - an id that differs, with the reason in it
            return f"{type(err).__name__}: {err}"


def kept_ids() -> dict[str, str]:
    """The SHA-256 of each golden document, as the file keeps it."""
    kept: dict[str, str] = json.loads(IDS_FILE.read_text(encoding="utf-8"))
    return kept


def say(line: str = "") -> None:
    print(line, flush=True)  # noqa: T201 - this is a program


def compare() -> int:
    """Compare with the file; print what differs, and the versions last."""
    found, kept = ids(), kept_ids()
    different = sorted(n for n in found.keys() | kept.keys() if found.get(n) != kept.get(n))
    for name in different:
        say(f"'{name}' is another document here: {found.get(name)}")
    versions = {m.__name__: m.__version__ for m in (np, gymnasium)}
    say(json.dumps({"same": len(kept) - len(different), "of": len(kept), **versions}))
    return 1 if different else 0


def matrix() -> int:
    """Compare in virtual environments of other versions; print a line for each."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, packages in enumerate(MATRIX):
            home = Path(folder) / str(number)
            venv.create(home, with_pip=True)
            python = str(home / "bin" / "python")
            install = [python, "-m", "pip", "install", "-q", "-e", str(ROOT), *packages]
            made_it = subprocess.run(install, capture_output=True, text=True, check=False)
            done = subprocess.run(
                [python, "-m", "tests.codec.env.golden"],
                capture_output=True,
                text=True,
                check=False,
                cwd=ROOT,
            )
            wrong += done.returncode != 0
            failure = made_it.stderr if made_it.returncode else done.stderr
            said = done.stdout.strip() or failure.strip()[-400:]
            say(f"{' '.join(packages):<60} {said}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--matrix", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.write:
        IDS_FILE.write_text(json.dumps(ids(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return matrix() if asked.matrix else compare()


if __name__ == "__main__":
    sys.exit(main())
