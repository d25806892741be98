"""The tests of what goes to other projects and comes from them, with those: ``-m tests.run_peers``.

Other projects ask for versions of packages that do not go together, so each of `PEERS` has a
virtual environment of its own, made below ``--root`` and used again by the next run. In it run the
tests that need that peer. None may be skipped: a test that could not find its peer shows nothing.

One line for each peer tells the versions and the counts. torch is installed as the index that pip
asks has it: on some that is a build for GPUs, of gigabytes.

Exit status: 0 all passed and none was skipped, 1 otherwise.
"""

import argparse
import json
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
        requirements: What pip installs besides this project; the first ones are told.
        tests: Test modules below ``tests``.
        extras: This project's.
    """

    requirements: tuple[str, ...]
    tests: tuple[str, ...]
    extras: str = ""


PEERS = {
    "minari": Peer(
        ("minari[hdf5,arrow]==0.5.4", "pytupli==1.2.9", "pillow"),
        ("interop/test_minari.py", "interop/test_pytupli.py"),
        "hdf5,arrow",
    ),
    "files": Peer(
        ("h5py", "pandas", "pyarrow"),
        ("interop/test_arrays.py", "interop/test_d4rl.py", "handover/test_tables.py"),
        "hdf5,arrow,dataframe",
    ),
    "torch": Peer(
        ("torch==2.13.0", "stable-baselines3", "torchrl", "tensordict"),
        ("handover/test_torch.py", "handover/test_sb3.py", "handover/test_tensordict.py"),
    ),
    "d3rlpy": Peer(("d3rlpy==2.8.1", "torch==2.13.0"), ("handover/test_d3rlpy.py",)),
}


class Counts(NamedTuple):
    """What became of the tests."""

    passed: int
    skipped: int
    failed: int


def installed(peer: Peer, folder: Path) -> Path:
    """Return the interpreter of the peer's environment, which is made where it is not there.

    Raises:
        subprocess.CalledProcessError: Something cannot be installed.
    """
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted = [*peer.requirements, *_RUNNER, peer.extras]
    mark = folder / _INSTALLED
    if not mark.exists() or json.loads(mark.read_text()) != wanted:
        venv.create(folder, with_pip=True, clear=True)
        ours = f"{PROJECT}[{peer.extras}]" if peer.extras else str(PROJECT)
        asked = [ours, *peer.requirements, *_RUNNER]
        quietly = ["-q", "--disable-pip-version-check"]
        subprocess.run([python, "-m", "pip", "install", *quietly, *asked], check=True)
        mark.write_text(json.dumps(wanted))
    return python


def tested(peer: Peer, python: Path, report: Path) -> Counts:
    """Run the peer's tests."""
    files = [f"tests/{name}" for name in peer.tests]
    options = ["-q", "-n0", "-rs", "-p", "no:cacheprovider", f"--junitxml={report}"]
    report.unlink(missing_ok=True)
    subprocess.run([python, "-m", "pytest", *options, *files], cwd=PROJECT, check=False)
    suites = ET.parse(report).getroot()
    told = {
        key: sum(int(suite.get(key, 0)) for suite in suites)
        for key in ("tests", "skipped", "failures", "errors")
    }
    failed = told["failures"] + told["errors"]
    return Counts(told["tests"] - told["skipped"] - failed, told["skipped"], failed)


def versions(peer: Peer, python: Path) -> str:
    """Return what is installed of that the peer asks for."""
    script = (
        "import sys; from importlib.metadata import version\n"
        "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    )
    names = [name.split("[")[0].split("=")[0].split(">")[0] for name in peer.requirements]
    asked = [str(python), "-c", script, *names, "gymnasium"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Run the peers that are asked for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="tests.run_peers", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--peer", action="append", choices=sorted(PEERS), help="by default all")
    parser.add_argument(
        "--root", type=Path, default=PROJECT / ".peers", help="default: %(default)s"
    )
    options = parser.parse_args()
    lines, is_good = [], True
    for name in options.peer or PEERS:
        peer, folder = PEERS[name], options.root.resolve() / name
        began = time.monotonic()
        python = installed(peer, folder)
        found = tested(peer, python, folder / "report.xml")
        is_good &= found.passed > 0 and not found.skipped and not found.failed
        lines.append(
            f"{name}: {found.passed} passed, {found.skipped} skipped, {found.failed} failed, "
            f"{time.monotonic() - began:.0f} s ({versions(peer, python)})"
        )
    sys.stdout.write("\n".join([*lines, ""]))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
