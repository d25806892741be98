"""`tupli replay` as a user sees it: its lines, its JSON, its failures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import NormalizeObservation

from tests.envs import Talking, Walk, Windy, WindyWrapper, play, stored
from tupli_repo import FileStorage
from tupli_repo.cli import run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStorage:
    """A project as the working folder, with two episodes that replay and two that cannot all."""
    folder = tmp_path / "project"
    storage = FileStorage(folder)
    monkeypatch.chdir(folder)
    for name, wrap in (("plain", Walk), ("normalised", lambda: NormalizeObservation(Walk()))):
        env = stored(storage, wrap(), name=name)
        for seed in (3, None):
            play(env, [1, 2, 3, 0, 1], seed=seed)
        env.close()
    return storage


def replay(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capfd.readouterr()
    status = run(["replay", *arguments])
    return (status, *capfd.readouterr())


def ids_of(storage: FileStorage, name: str) -> tuple[str, list[str]]:
    """The ids of a benchmark and of its episodes."""
    (benchmark,) = (h.id for h in storage.list_benchmarks() if h.metadata.name == name)
    return benchmark, [h.id for h in storage.episode_headers() if h.benchmark_id == benchmark]


def test_an_episode_is_one_line(project, capfd):
    _, (one, _) = ids_of(project, "plain")
    assert replay(capfd, one[:10]) == (0, f"{one[:12]}  exact      5 steps\n", "")


def test_a_benchmarks_episodes_are_a_line_each_and_a_summary(project, capfd):
    benchmark, (one, other) = ids_of(project, "normalised")
    status, out, err = replay(capfd, "--all", benchmark)
    first, second, summary = out.splitlines()
    assert (status, err) == (3, "")
    assert first == f"{one[:12]}  exact      5 steps"
    assert second.startswith(f"{other[:12]}  different  from step 0, 'observations[0]': ")
    assert "was recorded, now" in second
    assert second.endswith("only the first comes out alike)")
    assert summary == "2 episodes: 1 exact, 0 close, 1 different"
    assert replay(capfd, "--all", benchmark, "--limit", "1")[0] == 0


def test_as_json_it_is_one_document(project, capfd):
    benchmark, ids = ids_of(project, "normalised")
    status, out, _ = replay(capfd, "--all", benchmark, "--json")
    document = json.loads(out)
    assert status == 3
    assert [document[verdict] for verdict in ("exact", "close", "different")] == [1, 0, 1]
    assert [episode["id"] for episode in document["episodes"]] == ids
    exact, different = document["episodes"]
    assert (exact["verdict"], exact["first_step"], exact["column"]) == ("exact", None, None)
    assert (different["first_step"], different["element"]) == (0, [0])
    assert different["recorded"] != different["replayed"]


def test_what_an_environment_prints_is_no_part_of_the_result(project, capfd):
    env = stored(project, Talking(), name="talking")
    play(env, [1, 2])
    env.close()
    benchmark, _ = ids_of(project, "talking")
    status, out, err = replay(capfd, "--all", benchmark, "--json")
    assert (status, json.loads(out)["exact"]) == (0, 1)
    assert "one more step" in err


def test_untrusted_code_is_not_run(project, capfd, tmp_path, monkeypatch):
    env = stored(project, Windy(np.arange(9.0)), cls=WindyWrapper, name="windy")
    play(env, [0, 1, 0])
    env.close()
    _, (episode,) = ids_of(project, "windy")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "of-another-user"))
    status, out, err = replay(capfd, episode)
    assert (status, out) == (13, "")
    assert "tupli trust tests.envs.WindyWrapper" in err
    assert replay(capfd, episode, "--trust", "tests.envs.WindyWrapper")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["0" * 12], 1, "error: "),
        (["--all", "0" * 12], 1, "error: "),
        (["{benchmark}"], 2, "tupli replay --all {benchmark}"),
        (["--limit", "2", "{episode}"], 2, "--limit goes with --all"),
        (["--trust", "os.system", "{episode}"], 2, "'os.system' can never be trusted"),
    ],
)
def test_what_is_asked_wrongly_is_told(project, capfd, arguments, status, told):
    benchmark, (episode, _) = ids_of(project, "plain")
    names: dict[str, Any] = {"benchmark": benchmark[:8], "episode": episode[:8]}
    found = replay(capfd, *(argument.format(**names) for argument in arguments))
    assert found[:2] == (status, "")
    assert told.format(**names) in found[2]
