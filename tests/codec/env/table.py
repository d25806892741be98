"""Prove the families, one line per environment: ``python -m tests.codec.env.table``.

Each column says whether the document of an environment is byte-identical then, or the loaded one
the same. Exit status: 0 all is well, 1 something is not.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from tests.codec.env.families import (
    GRANTS,
    PACKAGES,
    Make,
    built,
    environments,
    is_installed,
    keeps_record,
    play,
    trajectory,
)
from tupli_repo.codec.env import check_round_trip, decode, encode
from tupli_repo.codec.env.audit import untrusted, wanted_names
from tupli_repo.codec.env.document import load_json

COLUMNS = {
    "twice": "the same environment again",
    "twin": "a second instance",
    "reset": "after reset(seed)",
    "steps": "after 60 steps",
    "seeded": "after seeding its spaces",
    "process": "in another process, with another hash seed",
    "direct": "built from its class, without make",
    "reload": "stored, loaded, stored",
    "replay": "the loaded one steps like the original, 200 steps to the bit (highway-env: 30)",
    "check": "the closing check of store() accepts it",
    "trust": "elsewhere it needs no grant, or that of its package (minigrid, highway-env)",
}


def examine(name: str, make: Make, *, steps: int = 200) -> dict[str, Any]:
    """What holds for one environment: column -> True, False, None where it does not apply."""
    env = make()
    document = encode(env)
    text = document.text
    found: dict[str, Any] = {"sha256": document.sha256, "twice": encode(env).text == text}
    found["twin"] = encode(make()).text == text
    env.reset(seed=5)
    found["reset"] = encode(env).text == text
    play(env, steps=min(60, steps))
    found["steps"] = encode(env).text == text
    env.action_space.seed(9)
    env.observation_space.seed(9)
    found["seeded"] = encode(env).text == text
    found["direct"] = None
    if keeps_record(name):
        found["direct"] = encode(built(name)).text == encode(make().unwrapped).text
    loaded: Any = decode(document, GRANTS)
    found["reload"] = encode(loaded).text == text
    found["replay"] = trajectory(loaded, steps=steps) == trajectory(make(), steps=steps)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_round_trip(document, make())
    names = wanted_names(load_json(text))
    found["trust"] = untrusted(names, GRANTS, document="0" * 64) == []
    found["check"] = not any("replayed" in str(w.message) for w in said)
    return found


def hashes_elsewhere(names: list[str], families: list[str], *, hash_seed: str) -> dict[str, str]:
    """The documents' SHA-256 as another process computes them; errors are texts of their own."""
    program = (
        "import json, sys, warnings; warnings.simplefilter('ignore')\n"
        "from tests.codec.env.table import hashes\n"
        "print(json.dumps(hashes(*json.load(sys.stdin))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([names, families]),
        env={
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def hashes(names: list[str], families: list[str]) -> dict[str, str]:
    """The SHA-256 of each document, or what went wrong."""
    makers = environments(families)
    return {name: _hash_or_error(makers[name]) for name in names}


def _hash_or_error(make: Make) -> str:
    try:
        return encode(make()).sha256
    except Exception as err:  # noqa: BLE001 - a hash that differs, with the reason in it
        return f"{type(err).__name__}: {err}"


def say(line: str = "") -> None:
    print(line, flush=True)  # noqa: T201 - this is a program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="*", default=["stacks", *PACKAGES])
    parser.add_argument("--only", default="", help="part of a name")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    wrong = count = 0
    for family in asked.families:
        if family != "stacks" and not is_installed(family):
            say(f"{family}: '{PACKAGES[family]}' is not installed\n")
            continue
        makers = {n: m for n, m in environments([family]).items() if asked.only in n}
        say(f"{family:<42} {' '.join(f'{column:<7}' for column in COLUMNS)}   s")
        elsewhere = hashes_elsewhere(list(makers), [family], hash_seed="77")
        for name, make in makers.items():
            steps = 30 if family == "highway-env" else 200  # its steps take up to a second
            look = functools.partial(examine, steps=steps)
            line, is_well = _line(name, make, elsewhere[name], look)
            wrong, count = wrong + (not is_well), count + 1
            say(line)
        say()
    say(f"{count} environments, {wrong} with something wrong")
    return 1 if wrong else 0


def _line(
    name: str, make: Make, elsewhere: str, look: Callable[[str, Make], dict[str, Any]]
) -> tuple[str, bool]:
    started = time.perf_counter()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # minigrid tells how it draws its maps
            found = look(name, make)
    except ImportError as err:
        return f"{name:<42} cannot be made here: {err}", True
    except Exception as err:  # noqa: BLE001 - the line says it, the next one goes on
        return f"{name:<42} {type(err).__name__}: {err}", False
    found["process"] = elsewhere == found["sha256"]
    words = {True: "yes", False: "NO", None: "-"}
    cells = " ".join(f"{words[found[column]]:<7}" for column in COLUMNS)
    is_well = all(found[column] is not False for column in COLUMNS)
    return f"{name:<42} {cells} {time.perf_counter() - started:5.1f}", is_well


if __name__ == "__main__":
    sys.exit(main())
