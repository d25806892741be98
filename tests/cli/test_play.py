"""``tupli play``: what a person does at the keyboard is recorded."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from tests.cli.calling import Tupli
from tests.cli.playing import SPACES, Grid
from tests.envs import Walk
from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper

pytest.importorskip("pygame")

TRUST = ["--trust", "tests.cli.playing.Grid"]

PLAYER = """
import sys, threading, time
import pygame
from tupli_repo.cli import run

def press(keys, seconds):
    while not pygame.display.get_init() or pygame.display.get_surface() is None:
        time.sleep(0.01)
    for key, pause in keys:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=getattr(pygame, key)))
        time.sleep(pause)
        pygame.event.post(pygame.event.Event(pygame.KEYUP, key=getattr(pygame, key)))
    pygame.event.post(pygame.event.Event(pygame.QUIT))

keys = [("K_LEFT", 0.5), ("K_RIGHT", 0.5), ("K_SPACE", 0.2)]
threading.Thread(target=press, args=(keys, 1), daemon=True).start()
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    storage = FileStorage(tmp_path / "project")
    TupliEnvWrapper(gymnasium.make("CartPole-v1", max_episode_steps=12), storage).store("cartpole")
    TupliEnvWrapper(Walk(), storage).store("walk")
    for kind in SPACES:
        TupliEnvWrapper(Grid(kind), storage).store(kind)
    storage.close()
    return tmp_path / "project"


def started(project: Path, *arguments: str, screen: str = "dummy") -> Any:
    quiet = {"SDL_VIDEODRIVER": screen, "SDL_AUDIODRIVER": "dummy", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-c", PLAYER, "-C", str(project), "play", *arguments, "--json"],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        timeout=120,
    )


def played(project: Path, *arguments: str) -> Any:
    done = started(project, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_what_is_played_is_recorded(project: Path):
    made = played(project, "cartpole", "--key", "left=0", "--key", "right=1", "--seed", "5")
    assert [one["seed"] for one in made] == list(range(5, 5 + len(made)))
    with FileStorage(project) as storage:
        assert [one.id for one in storage.list_episodes()] == [one["id"] for one in made]
        actions = TupliDataset(storage).columns(only="actions")["actions"]
    assert set(actions.tolist()) == {0, 1}
    assert {one["metadata"]["policy"] for one in made} == {"human"}
    for one in made:
        assert one["metadata"]["length"] == one["n_tuples"] == one["metadata"]["return"]
    assert made[-1]["timeout"] or made[-1]["terminated"]  # closed in the middle, or just at an end


def test_nothing_is_done_while_no_key_is_pressed(project: Path):
    assert played(project, "cartpole", "--key", "x=1", "--wait") == []


@pytest.mark.parametrize(
    ("kind", "key", "noop", "action"),
    [("pair", "[1, 0]", "[0, 0]", (1, 0)), ("named", '{"go": 1}', '{"go": 0}', {"go": 1})],
)
def test_composite_actions_are_played(
    project: Path, kind: str, key: str, noop: str, action: object
):
    made = played(project, kind, *TRUST, "--key", f"left={key}", "--noop", noop, "--wait")
    assert [one["metadata"]["return"] for one in made[:1]] == [[3.0, 6.0]]
    with FileStorage(project) as storage:
        first = storage.load_episode(made[0]["id"])
    assert {repr(step.action) for step in first.tuples} == {repr(action)}


def test_without_a_window_it_says_so(project: Path):
    done = started(project, "cartpole", "--key", "left=0", screen="none")
    assert done.returncode == 2
    assert "there is no window: none not available" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cartpole"], "says of no key what it does"),
        (["cartpole", "--key", "left"], "'left' is no key and its action"),
        (["cartpole", "--key", "lefft=1"], "there is no key 'lefft'"),
        (["cartpole", "--key", "left=7"], "'7' is no action of 'Discrete(2)'"),
        (["cartpole", "--key", "left=x"], "'x' is no action of 'Discrete(2)'"),
        (["cartpole", "--key", "left=0", "--noop", "[1]"], "'[1]' is no action"),
        (["walk", "--key", "left=0"], "'walk' does not render as images"),
        (["pair", *TRUST, "--key", "left=[0, 1]"], "has no action 0"),
        (["pair", *TRUST, "--key", "left=[0]"], "'[0]' is no action"),
        (["named", *TRUST, "--key", 'left={"x": 0}'], "is no action"),
        (["bits", *TRUST, "--key", "left=[300, 0]"], "'[300, 0]' is no action"),
        (["bits", *TRUST, "--key", "left=[0.5, 0]"], "'[0.5, 0]' is no action"),
    ],
)
def test_what_cannot_be_played_is_told(
    tupli: Tupli, project: Path, arguments: list[str], says: str
):
    done = tupli("-C", project, "play", *arguments)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 2


def test_an_unknown_benchmark_is_told(tupli: Tupli, project: Path):
    done = tupli("-C", project, "play", "cartpole2")
    assert done.status == 1
    assert "nothing here is called 'cartpole2'" in done.err
