"""The benchmark runs: the smallest of it, with ours and one peer that is always there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.contender import Contender
from tests.benchmarks.contenders.npz import Npz
from tests.benchmarks.contenders.ours import Ours
from tests.benchmarks.episodes import Episodes, Expected, Kept
from tests.benchmarks.measuring import NOT_OFFERED, OPERATIONS, Task, measure
from tests.benchmarks.playback import player_of, spaces_of
from tests.benchmarks.running import Results
from tests.benchmarks.targets import verdicts
from tests.benchmarks.workloads import smooth

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    return smooth(6, 20, 3, 2, "f4")(1.0)


@pytest.mark.parametrize("kind", [Ours, Npz])
def test_a_contender_gives_back_what_it_was_given(
    tmp_path: Path, episodes: Episodes, kind: type[Contender]
):
    contender = kind(tmp_path)
    contender.create()
    contender.write(episodes.in_memory(), spaces_of(episodes))
    contender.settle(episodes)
    expected = Expected(episodes, contender.kept)

    contender.open()
    everything = contender.load_all()
    assert set(everything) == set(episodes.columns)
    assert expected.wrong_in_episodes(everything, contender.order()) == ""
    rewards = contender.load_column("rewards")
    assert expected.wrong_in_episodes(rewards, contender.order()) == ""

    contender.ready()
    assert expected.wrong_in_episodes(contender.load_episodes([4, 1]), [4, 1]) == ""
    steps = np.array([0, 119, 20, 19, 20])
    assert expected.wrong_in_steps(contender.load_transitions(steps), steps) == ""
    assert contender.list_where(policy="expert", score=0.0) == [2, 5]


def test_each_operation_measures_ours(tmp_path: Path, episodes: Episodes):
    episodes.save(tmp_path / "episodes")
    folders = {"record": tmp_path / "recorded"}
    for operation in [name for name in OPERATIONS if name != "growth"]:
        folder = folders.get(operation, tmp_path / "ours")
        folder.mkdir(exist_ok=True)
        measured = measure(
            Task(
                contender="ours",
                workload="halfcheetah",
                operation=operation,
                folder=str(folder),
                source=str(tmp_path / "episodes"),
            )
        )
        assert (measured.wrong, measured.skipped) == ("", "")
        assert measured.versions["tupli-repo"]
        assert all(value >= 0 for name, value in measured.samples.items() if name != "seconds")


def test_what_a_contender_cannot_do_is_left_out(tmp_path: Path, episodes: Episodes):
    episodes.save(tmp_path / "episodes")
    task = Task(
        contender="npz",
        workload="halfcheetah",
        operation="record",
        folder=str(tmp_path),
        source=str(tmp_path / "episodes"),
    )
    assert measure(task).skipped == NOT_OFFERED


def test_a_bit_that_differs_is_told(episodes: Episodes):
    columns = {name: column.copy() for name, column in episodes.columns.items()}
    expected, everything = Expected(episodes, Kept()), range(len(episodes))
    assert expected.wrong_in_episodes(columns, everything) == ""

    columns["rewards"][37] = -columns["rewards"][37]
    assert "'rewards' differs" in expected.wrong_in_episodes(columns, everything)
    assert "'rewards' differs" in expected.wrong_in_steps(
        {"rewards": columns["rewards"][[36, 37]]}, np.array([36, 37])
    )
    shorter = {"actions": columns["actions"][:-1]}
    assert expected.wrong_in_episodes(shorter, everything)
    longer = {"actions": np.concatenate([columns["actions"], columns["actions"][:1]])}
    assert "has 121 rows" in expected.wrong_in_episodes(longer, everything)
    wider = {"actions": columns["actions"].astype(np.float64)}
    assert expected.wrong_in_episodes(wider, everything)
    turned = {"observations": np.asfortranarray(columns["observations"])}
    assert "not contiguous" in expected.wrong_in_episodes(turned, everything)


def test_what_is_played_back_is_what_was_there(tmp_path: Path, episodes: Episodes):
    episodes.save(tmp_path / "episodes")
    loaded = Episodes.load(tmp_path / "episodes")
    player = player_of("halfcheetah", loaded)
    env = player.make_env()
    for episode, actions in zip(episodes, player.actions, strict=True):
        seen: list[Any] = [env.reset()[0]]
        seen += [env.step(action)[0] for action in actions]
        assert np.stack(seen).tobytes() == episode.columns["observations"].tobytes()


def test_a_target_is_met_by_a_ratio_of_medians():
    def run(ours: list[float], npz: list[float]) -> Results:
        written = {"ours": {"seconds": ours}, "npz": {"seconds": npz}}
        return Results(samples={"halfcheetah": {"write": written}})

    (met,) = verdicts(run([1.0, 9.0, 2.0], [4.0, 1.0, 9.0]))
    assert (met.ours, met.peer, met.ratio, met.holds) == (2.0, 4.0, 2.0, True)
    (missed,) = verdicts(run([1.0, 9.0, 2.1], [4.0, 1.0, 9.0]))
    assert not missed.holds


def test_the_command_measures_and_tells(tmp_path: Path):
    command = ["--workload", "halfcheetah", "--scale", "0.002", "--repeat", "1"]
    for name in ("ours", "npz"):
        command += ["--contender", name]
    for name in ("write", "load"):
        command += ["--operation", name]
    command += ["--json", str(tmp_path / "results.json")]
    command += ["--folder", str(tmp_path / "kept")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| halfcheetah | write | npz |" in done.stdout
    told = json.loads((tmp_path / "results.json").read_text())
    assert told["problems"] == {}
    assert told["medians"]["halfcheetah"]["load"]["ours"]["seconds"] > 0
    assert told["versions"]["tupli-repo"]
