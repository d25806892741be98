"""``tupli diff`` as a user sees it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from tests.cli.calling import Outcome, Tupli
from tests.codec.env import sample_envs
from tupli_repo import FileStorage, TupliEnvWrapper
from tupli_repo.codec.env.document import dump_json
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStorage:
    folder = tmp_path / "project"
    storage = FileStorage(folder)
    monkeypatch.chdir(folder)
    return storage


def store(project: FileStorage, env: Any, name: str = "cartpole", **words: Any) -> str:
    return TupliEnvWrapper(env, project).store(name, **words)


def windy(wind: Any) -> Any:
    return gymnasium.wrappers.TimeLimit(sample_envs.WindyMountainCar(wind), 20)


def table(outcome: Outcome) -> list[list[str]]:
    return [line.split("\t") for line in outcome.out.splitlines()]


def test_diff_in_a_pipe_is_a_tab_separated_table(tupli: Tupli, project: FileStorage):
    wind = np.linspace(-1, 1, 9000)
    a = store(project, windy(wind), description="soft", version="1")
    wind[3] = 7.5
    b = store(project, windy(wind), description="rough", metadata={"site": {"n": 1}})
    done = tupli("diff", a[:9], b)
    assert (done.status, done.err) == (0, "")
    head, *rows = table(done)
    assert head == ["path", a[:12], b[:12], "note"]
    assert rows[:3] == [
        ["/metadata/description", "'soft'", "'rough'", ""],
        ["/metadata/extra/site", "", "{'n': 1}", "only there"],
        ["/metadata/version", "'1'", "None", ""],
    ]
    assert [row[0] for row in rows[3:]] == ["/base/attributes/wind"]
    assert rows[3][3].startswith("1 of 9000 elements differ, first at [3]: -0.999")


def test_diff_on_a_terminal_has_lines_that_fit(project: FileStorage):
    pty = pytest.importorskip("pty")
    a = store(project, gymnasium.make("CartPole-v1"))
    b = store(project, gymnasium.make("CartPole-v1", max_episode_steps=7, sutton_barto_reward=True))
    project.close()
    outer, inner = pty.openpty()
    command = [sys.executable, "-W", "ignore", "-m", "tupli_repo", "diff", a, b]
    subprocess.run(command, stdout=inner, check=True)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", os.read(outer, 10_000).decode())
    os.close(inner)
    os.close(outer)
    assert shown.splitlines() == [
        "/base/kwargs/sutton_barto_reward",
        "  + True",
        "/wrappers/1/kwargs/max_episode_steps",
        "  - 500",
        "  + 7",
    ]


def test_diff_as_json_has_everything(tupli: Tupli, project: FileStorage):
    a = store(project, gymnasium.make("CartPole-v1"))
    b = store(project, gymnasium.make("CartPole-v1", max_episode_steps=7))
    done = tupli("diff", a, b, "--json")
    assert done.status == 0
    path = "/wrappers/1/kwargs/max_episode_steps"
    assert done.json == {
        "ours": a, "theirs": b, "equal": False, "environments_equal": False, "metadata": [],
        "environment": [
            {"path": path, "their_path": "", "kind": "changed", "ours": "500", "theirs": "7",
             "note": "", "elements": None}
        ],
    }  # fmt: skip
    assert project.diff(a, b).model_dump(mode="json") == done.json


def test_diff_says_where_only_the_words_differ(tupli: Tupli, project: FileStorage):
    a = store(project, gymnasium.make("CartPole-v1"))
    b = store(project, gymnasium.make("CartPole-v1"), name="pole", difficulty="easy")
    done = tupli("diff", a, b)
    assert [row[0] for row in table(done)[1:]] == [
        "/metadata/difficulty", "/metadata/name", "the environments are equal",
    ]  # fmt: skip
    report = tupli("diff", a, b, "--json").json
    assert (report["equal"], report["environments_equal"]) == (False, True)


def test_the_exit_status_tells_on_demand_whether_they_differ(tupli: Tupli, project: FileStorage):
    a = store(project, gymnasium.make("CartPole-v1"))
    b = store(project, gymnasium.make("Pendulum-v1"))
    assert tupli("diff", a, a, "--exit-code") == (0, "nothing differs\n", "")
    assert tupli("diff", a, b, "--exit-code").status == 3
    assert tupli("diff", a, b, "--exit-code", "--json").status == 3
    assert tupli("diff", a, b).status == 0
    assert "3 they differ" in tupli("diff", "--help").out


def test_diff_of_what_is_not_here_or_no_benchmark_fails(tupli: Tupli, project: FileStorage):
    a = store(project, gymnasium.make("CartPole-v1"))
    done = tupli("diff", a, "0123456")
    assert (done.status, done.out) == (1, "")
    assert "0123456" in done.err
    assert tupli("diff", "x", a).status == 2
    assert tupli("diff", a).status == 2


def test_texts_of_others_are_compared_as_texts(tupli: Tupli, project: FileStorage):
    ids = []
    for i, text in enumerate(['{"py/object": "os.system"}', '{"py/object": "os.popen"}']):
        words = BenchmarkMetadata(name="foreign", extra={"wind": np.arange(3) + i})
        query = BenchmarkQuery(hash=str(i) * 64, serialized=text, metadata=words)
        ids.append(project.store_benchmark(query).id)
    rows = table(tupli("diff", *ids))[1:]
    assert [row[0] for row in rows] == ["/metadata/extra/wind", "/"]
    assert rows[0][3].startswith("3 of 3 elements differ, first at [0]: 0, 1; by at most 1")
    assert rows[1][3] == "the texts differ from line 1, column 19"
    ours = store(project, gymnasium.make("CartPole-v1"))
    against = project.diff(ours, ids[0])
    assert "/env_format" in [found.path for found in against.metadata]
    assert not against.environments_equal


def test_diff_runs_no_code_of_the_environments(project: FileStorage, tmp_path: Path):
    (tmp_path / "spy.py").write_text("raise SystemExit('it was imported')\n")
    ids = []
    for n in (1, 2):
        base = {"kind": "recipe", "kwargs": {"n": n}, "make": {"py/type": "spy.Env"}}
        text = dump_json({"base": base, "format": "tupli.env/1", "wrappers": []})
        query = BenchmarkQuery(
            hash=str(n) * 64, serialized=text, metadata=BenchmarkMetadata(name="spy")
        )
        ids.append(project.store_benchmark(query).id)
    project.close()
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "names = []\n"
        "sys.addaudithook(lambda e, a: names.append(a[0]) if e == 'import' else None)\n"
        "from tupli_repo.cli import run\n"
        "status = run(['diff', '--exit-code', *sys.argv[2:]])\n"
        "print([name for name in names if 'spy' in name]); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, tmp_path, *ids],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert done.stdout.splitlines()[1:] == ["/base/kwargs/n\t1\t2\t", "[]"]
