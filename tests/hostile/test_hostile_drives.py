"""Drives that lie, against each verb that reads one: told or left out, and nothing else happens.

Each verb runs in a process of its own, so that its memory is its own, and dies if it hangs.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import pytest

from tests.hostile.bundles import BUNDLES
from tests.hostile.cases import CASES, Case
from tests.hostile.crafting import Hub, make_world

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

REPOSITORY = Path(__file__).parents[2]
VERBS = ("clone", "status", "fetch", "pull", "push")
MOST_MEGABYTES = 300
Ask = Callable[[str, Path, Path], dict[str, Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Carry out a verb in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.victim"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as victim:
        assert victim.stdin is not None
        assert victim.stdout is not None
        asking, telling = victim.stdin, victim.stdout

        def carry_out(verb: str, remote: Path, folder: Path) -> dict[str, Any]:
            asking.write(json.dumps([verb, str(remote), str(folder)]) + "\n")
            asking.flush()
            found: dict[str, Any] = json.loads(telling.readline())
            return found

        yield carry_out
        asking.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest drive and a repository that knows it."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


@pytest.fixture(scope="module")
def honest(world: Path, ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each verb ends with where the drive is honest, and how the repository reads before."""
    folder = tmp_path_factory.mktemp("honest")
    found = {}
    for verb in VERBS:
        here = copied(world, folder / verb)
        found[verb] = ask(verb, here / "hub", here / "me")
        assert "error" not in found[verb]
        assert found[verb]["damaged"] == []
    return found


def copied(world: Path, folder: Path, remote: Path | None = None) -> Path:
    """A world of its own, in which the repository knows the drive of that world."""
    shutil.copytree(world, folder, symlinks=True)
    point(folder / "me", remote or folder / "hub")
    return folder


def point(project: Path, remote: Path) -> None:
    (project / ".tupli" / "config.toml").write_text(f'[remote.origin]\nurl = "{remote}"\n')


def listing(folder: Path, but: Path) -> dict[str, tuple[int, int, int]]:
    """Every name below a folder with type, size and time, without what lies in another."""
    found = {}
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(path, name) != but]
        for name in (*folders, *files):
            status = os.lstat(os.path.join(path, name))
            is_folder = S_ISDIR(status.st_mode)  # its time changes with the case's own copies
            size, when = (0, 0) if is_folder else (status.st_size, status.st_mtime_ns)
            found[os.path.join(path, name)] = (status.st_mode, size, when)
    return {name: told for name, told in found.items() if "staging" not in name}


def is_told(found: dict[str, Any]) -> bool:
    return "error" in found or found["damaged"] != []


def check(
    found: dict[str, Any], verb: str, case: Case, honest: dict[str, Any], before: list[Any]
) -> None:
    """Check what came of a verb."""
    assert found.get("error") != "unexpected", found["message"]
    assert "\n" not in found.get("message", "")
    assert found["megabytes"] < MOST_MEGABYTES, found["megabytes"]
    assert found["imported"] == []
    if verb in ("clone", "fetch", "pull"):
        if case.then == "told":
            assert is_told(found), found
        elif case.then == "passed" or (case.then == "told or whole" and not is_told(found)):
            assert "error" not in found, found
            assert found["damaged"] == []
            assert found["after"] == honest[verb]["after"], "it does not read as it should"
    if verb == "clone" and "error" in found:
        return  # what there is of it is completed by the next call
    names, episodes, benchmarks = found["after"]
    if verb != "clone":  # the repository reads as before, and what is new is honest
        assert names["mine"] == before[0]["mine"]
        assert set(before[1]) <= set(episodes)
        assert set(before[2]) <= set(benchmarks)
    everything = honest["pull" if verb != "clone" else "clone"]["after"]
    for name in ("walk", "good", "mine"):
        assert names.get(name, everything[0].get(name)) == everything[0].get(name)


def run_case(
    tmp_path: Path,
    world: Path,
    ask: Ask,
    honest: dict[str, Any],
    case: Case,
    verbs: Sequence[str] = VERBS,
) -> None:
    """Make one hostile drive, and carry out some verbs against it, each in a fresh repository."""
    spoilt = copied(world, tmp_path / "w")
    hub = Hub(spoilt / "hub")
    case.make(hub)
    before = honest["status"]["after"]
    point(spoilt / "me", hub.remote)
    shutil.copytree(spoilt / "me", tmp_path / "me", symlinks=True)
    there = listing(tmp_path, spoilt / "me")
    for verb in verbs:
        shutil.rmtree(spoilt / "me", ignore_errors=True)
        shutil.copytree(tmp_path / "me", spoilt / "me", symlinks=True)
        found = ask(verb, hub.remote, spoilt / "me")
        check(found, verb, case, honest, before)
        now = listing(tmp_path, spoilt / "me")
        if verb == "push" and hub.remote == hub.folder:  # what it may write to
            inside = f"{hub.root}{os.sep}"
            now = {name: told for name, told in now.items() if not name.startswith(inside)}
            there = {name: told for name, told in there.items() if not name.startswith(inside)}
        changed = sorted(name for name, _ in now.items() ^ there.items())
        assert changed == [], verb
        assert set(os.listdir(spoilt / "me")) <= {".tupli", "clone"}


ALL = {**CASES, **BUNDLES}
FEW = [(sentence, case) for sentence, case in ALL.items() if not case.is_slow]


@pytest.mark.parametrize(
    ("number", "case"), [pytest.param(n, case, id=name) for n, (name, case) in enumerate(FEW)]
)
def test_a_verb_survives(
    tmp_path: Path, world: Path, ask: Ask, honest: dict[str, Any], number: int, case: Case
) -> None:
    run_case(tmp_path, world, ask, honest, case, (VERBS[number % len(VERBS)],))


@pytest.mark.torture
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in ALL.items()])
def test_every_verb_survives(
    tmp_path: Path, world: Path, ask: Ask, honest: dict[str, Any], case: Case
) -> None:
    run_case(tmp_path, world, ask, honest, case)


def test_there_are_enough_of_them() -> None:
    assert len(FEW) >= 60
