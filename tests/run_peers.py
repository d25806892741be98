"""The tests of what other projects are handed, and hand over, with those: ``-m tests.run_peers``.

Other projects ask for versions of packages that do not go together, so each of `PEERS` has a
virtual environment of its own, made below ``--root`` and used again by the next run. In it run the
tests that need that peer. A test may be skipped with one peer for want of another; one that passes
with none shows nothing, and counts as wrong.

One line for each peer tells the versions and the counts. torch is installed as the index that pip
asks has it: on some that is a build for GPUs, of gigabytes.

Exit status: 0 every test passed with a peer and failed with none, 1 otherwise.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

PROJECT = Path(__file__).parents[1]
_RUNNER = ("pytest>=9", "pytest-xdist>=3.6", "hypothesis>=6.100")
_INSTALLED = "installed.json"


class Peer(NamedTuple):
    """A set of packages that go together, and what is tested with them.

    Attributes:
        requirements: What pip installs besides this project.
        tests: What pytest runs, below ``tests``.
        extras: This project's.
        alone: What is installed after that, without what it asks for.
    """

    requirements: tuple[str, ...]
    tests: tuple[str, ...]
    extras: str = ""
    alone: tuple[str, ...] = ()


PEERS = {
    "files": Peer(
        ("minari[hdf5,arrow]==0.5.4", "pytupli==1.2.9", "pillow"),
        (
            "interop",
            "handover/test_minari.py",
            "handover/test_tables.py",
            "cli/test_interop.py",
            "cli/test_interop_parquet.py",
            "cli/test_export_lerobot.py",
            "codec/env/test_specification.py",
            "test_tutorial.py",
        ),
        "hdf5,arrow,dataframe",
    ),
    "torch": Peer(
        ("torch==2.13.0", "stable-baselines3", "torchrl", "tensordict"),
        ("handover", "test_sampling.py", "test_curation.py"),
        "hdf5,arrow,dataframe",
    ),
    "d3rlpy": Peer(
        ("d3rlpy==2.8.1", "torch==2.13.0"),
        ("handover/test_d3rlpy.py", "handover/test_gaps.py", "test_tutorial.py"),
        "hdf5,arrow,dataframe",
    ),
    "rllib": Peer(
        ("ray[rllib]==2.60.0", "torch==2.13.0"),
        ("interop/test_rllib.py", "interop/test_parquet.py"),
        "arrow",
    ),
    "lerobot": Peer(
        (
            "datasets>=4,<5", "huggingface-hub>=0.34.2,<0.36", "av>=15,<16", "pandas<3",
            "numpy<2.3", "pillow", "einops", "jsonlines", "packaging", "draccus==0.10.0",
            "termcolor", "deepdiff", "imageio", "sympy", "networkx", "jinja2", "setuptools<81",
            "psutil", "safetensors",
        ),
        ("interop/test_lerobot.py", "interop/test_lerobot_peer.py", "interop/test_png.py"),
        "arrow",
        alone=("lerobot==0.4.4", "torch==2.13.0", "torchvision==0.16.2", "accelerate"),
    ),
}  # fmt: skip

Outcomes = dict[tuple[str, str], str]
"""By module and name: ``passed``, ``skipped`` or ``failed``; a module skipped whole has no name."""


def installed(peer: Peer, folder: Path) -> Path:
    """Return the interpreter of the peer's environment, which is made where it is not there.

    Raises:
        subprocess.CalledProcessError: Something cannot be installed.
    """
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted = [*peer.requirements, *_RUNNER, peer.extras, *peer.alone]
    mark = folder / _INSTALLED
    if not mark.exists() or json.loads(mark.read_text()) != wanted:
        venv.create(folder, with_pip=True, clear=True)
        ours = f"{PROJECT}[{peer.extras}]" if peer.extras else str(PROJECT)
        _install(python, ours, *peer.requirements, *_RUNNER)
        if peer.alone:
            _install(python, "--no-deps", *peer.alone)
        for theirs in folder.glob("[Ll]ib/**/site-packages/tests"):
            shutil.rmtree(theirs)  # some ship their tests under the name of ours
        mark.write_text(json.dumps(wanted))
    return python


def tested(peer: Peer, python: Path, report: Path) -> Outcomes:
    """Run the peer's tests."""
    tests = [f"tests/{name}" for name in peer.tests]
    options = ["-q", "-n0", "-rs", "-p", "no:cacheprovider", f"--junitxml={report}"]
    report.unlink(missing_ok=True)
    subprocess.run([python, "-m", "pytest", *options, *tests], cwd=PROJECT, check=False)
    found: Outcomes = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        told = {child.tag for child in case}
        outcome = "skipped" if "skipped" in told else "failed" if told else "passed"
        module, name = case.get("classname", ""), case.get("name", "")
        found[(module, name) if module else (name, "")] = outcome
    return found


def unseen(outcomes: list[Outcomes]) -> list[str]:
    """Return the tests that were skipped with some peer and passed with none."""
    passed = {test for one in outcomes for test, how in one.items() if how == "passed"}
    passed |= {(module, "") for module, _ in passed}
    skipped = {test for one in outcomes for test, how in one.items() if how == "skipped"}
    return sorted(f"{module} {name}".strip() for module, name in skipped - passed)


def versions(peer: Peer, python: Path) -> str:
    """Return what is installed of that which is pinned, and of Gymnasium."""
    script = (
        "import sys; from importlib.metadata import version\n"
        "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    )
    pinned = [one for one in (*peer.requirements, *peer.alone) if "==" in one]
    names = [one.split("==")[0].split("[")[0] for one in pinned]
    asked = [str(python), "-c", script, *names, "gymnasium"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Run the peers that are asked for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="tests.run_peers", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--peer", action="append", choices=sorted(PEERS), help="by default all")
    parser.add_argument("--root", type=Path, default=PROJECT / ".peers", help="%(default)s")
    options = parser.parse_args()
    lines, outcomes = [], []
    for name in options.peer or PEERS:
        peer, folder = PEERS[name], options.root.resolve() / name
        began = time.monotonic()
        python = installed(peer, folder)
        found = tested(peer, python, folder / "report.xml")
        outcomes.append(found)
        counts = [
            f"{sum(how == which for how in found.values())} {which}"
            for which in ("passed", "skipped", "failed")
        ]
        took = time.monotonic() - began
        lines.append(f"{name}: {', '.join(counts)}, {took:.0f} s ({versions(peer, python)})")
    missing = unseen(outcomes) if options.peer is None else []
    lines += [f"passed with no peer: {test}" for test in missing]
    sys.stdout.write("\n".join([*lines, ""]))
    has_failed = any("failed" in one.values() or not one for one in outcomes)
    return 1 if has_failed or missing else 0


def _install(python: Path, *what: str) -> None:
    options = ["-q", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", "install", *options, *what], check=True)


if __name__ == "__main__":
    sys.exit(main())
