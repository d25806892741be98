"""``tupli metrics`` as a user sees it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import pytest

from tests.cli.calling import Tupli
from tests.quality_metrics.drivers import anything, balance, either, record
from tupli_repo import FileStorage, TupliDataset
from tupli_repo.quality_metrics import AverageReturnMetric, GeneralizedBehavioralEntropyMetric
from tupli_repo.schema import FilterLT

NAMES = [
    "average_return", "estimated_return_improvement", "saco", "behavioral_entropy", "q_function",
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStorage:
    """A project with six episodes of CartPole, as the working folder."""
    folder = tmp_path / "project"
    storage = FileStorage(folder)
    monkeypatch.chdir(folder)
    env = gymnasium.make("CartPole-v1", max_episode_steps=30)
    record(storage, env, [balance, either], 120)
    return storage


def test_a_table_has_what_can_be_computed_and_tells_what_was_left_out(tupli: Tupli, project):
    done = tupli("metrics", "driven")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0].split("\t") == ["metric", "value", "note"]
    assert [row[0] for row in done.table] == NAMES
    expected = AverageReturnMetric().evaluate(TupliDataset(project))
    assert done.table[0][1:] == [f"{expected:.6g}", "gamma 0.99"]
    assert done.table[2][2] == "distinct state-action pairs, observations in 10 bins per dimension"
    told = "--metric q_function" if find_spec("torch") else "pip install torch"
    assert done.table[4][1] == ""
    assert done.table[4][2].startswith(f"left out ({told}): it trains a network")


def test_as_json_it_has_the_numbers_in_full(tupli: Tupli, project):
    benchmark = project.list_benchmarks()[0].id
    found = tupli("metrics", benchmark[:9], "--json").json
    dataset = TupliDataset(project)
    assert (found["n_episodes"], found["n_steps"]) == (
        len(dataset.episode_lengths), int(dataset.episode_lengths.sum()),
    )  # fmt: skip
    values = {one["metric"]: one["value"] for one in found["metrics"]}
    assert list(values) == NAMES[:4]
    assert values["behavioral_entropy"] == GeneralizedBehavioralEntropyMetric(4).evaluate(dataset)
    assert [one["metric"] for one in found["left_out"]] == ["q_function"]


def test_conditions_pins_and_revisions_say_which_episodes(tupli: Tupli, project):
    early = TupliDataset(project).with_episode_filter(FilterLT(key="seed", value=3))
    early.pin("early")
    project.publish("driven", episodes=True)
    found = [
        tupli("metrics", *arguments, "--metric", "average_return", "--json").json
        for arguments in (["early"], ["driven", "--where", "seed < 3"], ["driven@1"], ["driven"])
    ]
    assert found[0] == found[1]
    assert found[0]["n_episodes"] == 3
    assert found[0]["metrics"][0]["value"] == AverageReturnMetric().evaluate(early)
    assert found[2] == found[3]
    assert found[2]["n_episodes"] > 3


def test_settings_are_the_metrics_settings(tupli: Tupli, project):
    TupliDataset(project).with_episode_filter(FilterLT(key="seed", value=3)).pin("early")
    given = tupli(
        "metrics", "early", "--gamma", "1", "--return-range", "0", "30", "--min-return", "-1",
        "--reference", "driven", "--bins", "4", "--alpha", "1", "--neighbours", "3",
        "--points", "20", "--json",
    )  # fmt: skip
    values = {one["metric"]: one for one in given.json["metrics"]}
    assert 0 < values["average_return"]["value"] < 1
    assert values["average_return"]["note"] == "gamma 1, 0 and 1 are returns of 0 and 30"
    assert 0 < values["saco"]["value"] < 1
    assert values["saco"]["note"].startswith("of the pairs of the reference, observations in 4")
    n_steps = given.json["n_steps"]
    assert values["behavioral_entropy"]["note"] == (
        f"alpha 1, 3 neighbours, 4 dimensions, 20 of {n_steps} observations"
    )
    assert values["estimated_return_improvement"]["note"].endswith("least return of -1")


def test_an_estimate_is_asked_for_by_name(tupli: Tupli, project):
    pytest.importorskip("hyperloglog")
    arguments = ["metrics", "driven", "--metric", "saco", "--json"]
    counted, estimated = tupli(*arguments), tupli(*arguments, "--hyperloglog")
    value = counted.json["metrics"][0]["value"]
    assert estimated.json["metrics"][0]["value"] == pytest.approx(value, rel=0.05)


def test_continuous_actions_leave_coverage_and_fitted_q_out(tupli: Tupli, tmp_path: Path):
    storage = FileStorage(tmp_path)
    env = gymnasium.make("MountainCarContinuous-v0", max_episode_steps=40)
    record(storage, env, [anything], 60)
    done = tupli("-C", tmp_path, "metrics", "driven", "--json").json
    assert [one["metric"] for one in done["metrics"]] == NAMES[:2] + NAMES[3:4]
    assert "counts discrete actions" in done["left_out"][0]["reason"]
    done = tupli("-C", tmp_path, "metrics", "driven", "--metric", "saco")
    assert (done.status, done.out) == (2, "")
    assert "counts discrete actions" in done.err
    if find_spec("torch"):
        done = tupli("-C", tmp_path, "metrics", "driven", "--metric", "q_function")
        assert "needs a policy to evaluate" in done.err
        assert done.status == 2


def test_fitted_q_is_computed_where_it_is_asked_for(tupli: Tupli, project):
    done = tupli("metrics", "driven", "--metric", "q_function", "--iterations", 5, "--json")
    if find_spec("torch"):
        assert done.json["metrics"][0]["note"] == "gamma 0.99, 5 iterations of FQI"
        return
    assert done.status == 1
    assert done.json["error"]["hint"] == "pip install torch"


def test_what_needs_a_package_that_is_missing_is_left_out_with_the_command(project):
    program = (
        "import sys; sys.modules['hyperloglog'] = sys.modules['scipy'] = None\n"
        "from tupli_repo.cli import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "metrics", "driven", "--hyperloglog"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in done.stdout.splitlines()}
    value, note = rows["saco"]
    assert value == ""
    assert note.startswith("left out (pip install hyperloglog): the estimate of SACo")
    assert float(rows["behavioral_entropy"][0]) > 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nothing"], 1, "nothing here is called 'nothing'"),
        (["driven", "--where", "seed > 99"], 2, "no episode of 'driven' matches"),
        (["driven", "--where", "colour = 1"], 2, "'colour' is not a key"),
        (["driven", "--metric", "beauty"], 2, "'beauty'"),
        (["driven", "--gamma", "2"], 2, "2"),
        (["driven", "--alpha", "-1"], 2, "an alpha of '-1.0' is not possible"),
        (["driven", "--min-return", "1000"], 0, ""),
        (["driven", "--metric", NAMES[1], "--min-return", "1000"], 2, "below the 'min_return'"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(
    tupli: Tupli, project, arguments: list[str], status: int, message: str
):
    done = tupli("metrics", *arguments)
    assert done.status == status
    assert message in done.err
    assert len(done.err.splitlines()) <= 2


def test_a_name_that_two_benchmarks_have_is_ambiguous(tupli: Tupli, project):
    record(project, gymnasium.make("CartPole-v1", max_episode_steps=20), [either], 30)
    done = tupli("metrics", "driven")
    assert done.status == 1
    assert "'driven' is ambiguous: benchmark" in done.err
    ids = [header.id[:12] for header in project.list_benchmarks()]
    assert all(oid in done.err for oid in ids)
