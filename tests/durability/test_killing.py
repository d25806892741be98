"""Real processes, killed at any moment: what they said is done, is done."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.repository.people import benchmark, drive, person
from tupli_repo.odb.files import FileSystem
from tupli_repo.repository import Repository

PROJECT = Path(__file__).parents[2]
WORK = """
import json, sys
from tests.repository.people import record
from tupli_repo.repository import Repository

def say(kind, *what):
    sys.stdout.write(json.dumps([kind, *what]) + "\\n")
    sys.stdout.flush()

who = Repository(sys.argv[1])
walk = who.list_benchmarks()[0].id
say("ready")
for n in range(100_000):
    for oid in record(who, walk, 1, turn=n):
        say("episode", oid)
    new = record(who, walk, 3, batch=n)
    for oid in new:
        say("episode", oid)
    who.publish("walk", episodes=new)
    for oid in new:
        say("published", oid)
    who.push()
    for oid in new:
        say("pushed", oid)
    if n % 4 == 3:
        who.close()
"""


def killed_at(lab: Path, n_lines: int, delay_s: float) -> tuple[int, dict[str, set[str]]]:
    """Run the work and kill it after some lines; returns how many came, and what it said."""
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(lab / "ada")],
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == ["ready"]
        lines = [process.stdout.readline().strip() for _ in range(n_lines)]
        time.sleep(delay_s)
        process.kill()
        lines += process.stdout.read().split("\n")[:-1]  # the last one may be cut off
    assert process.returncode == -signal.SIGKILL, "it died by itself"
    said: dict[str, set[str]] = {"episode": set(), "published": set(), "pushed": set()}
    for kind, oid in map(json.loads, lines):
        said[kind].add(oid)
    return len(lines), said


def assert_kept(lab: Path, said: dict[str, set[str]]) -> None:
    ada, hub = Repository(lab / "ada"), Repository(lab / "drive")
    here = {header.id for header in ada.episode_headers()}
    assert said["episode"] <= here
    assert len(list(ada.read_episodes(here))) == len(here)
    if said["published"]:
        assert said["published"] <= {header.id for header in ada.episodes_of("walk")}
    if said["pushed"]:
        assert said["pushed"] <= {header.id for header in hub.episodes_of("walk")}
    there = [header.id for header in hub.episode_headers()]
    assert len(list(hub.read_episodes(there))) == len(there)
    for who in (ada, hub):
        who._store._close.detach()  # the next one finds it as the dead have left it


def made(folder: Path) -> Path:
    hub = drive(folder / "drive")
    ada = person(folder / "ada", hub, fs=FileSystem())
    benchmark(ada)
    ada.close()
    return folder


def kill_often(lab: Path, times: int, *, seed: int, most_lines: int) -> int:
    """Kill as many processes, each going on where the last one died; returns lines heard."""
    moments = random.Random(seed)
    said: dict[str, set[str]] = {"episode": set(), "published": set(), "pushed": set()}
    heard = 0
    for _ in range(times):
        n, new = killed_at(lab, moments.randint(0, most_lines), moments.uniform(0, 0.1))
        heard += n
        for kind, ids in new.items():
            said[kind] |= ids
        assert_kept(lab, said)
    return heard


def test_a_process_that_is_killed_has_done_what_it_said(tmp_path: Path) -> None:
    assert kill_often(made(tmp_path), 4, seed=3, most_lines=20)


@pytest.mark.torture
def test_a_hundred_processes_that_are_killed_have_done_what_they_said(tmp_path: Path) -> None:
    for n in range(10):
        assert kill_often(made(tmp_path / str(n)), 10, seed=n, most_lines=60)
