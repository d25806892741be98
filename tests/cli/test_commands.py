"""The command line as a user sees it: what it prints, its JSON, its failures."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from tests.cli.calling import Tupli
from tests.odb.samples import empty_trash
from tupli_repo import FileStorage, TupliEnvWrapper
from tupli_repo.schema import ArtifactMetadata, EpisodeItem


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStorage:
    """A project with a benchmark, two episodes and an artifact, as the working folder."""
    folder = tmp_path / "project"
    storage = FileStorage(folder)
    monkeypatch.chdir(folder)
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    env.store("cartpole", description="balance", difficulty="easy", version="1.2")
    for seed in (3, 4):
        env.reset(seed=seed)
        while not any(env.step(1)[2:4]):
            pass
    env.close()
    storage.store_artifact(b"wind\n\xff\n", ArtifactMetadata(name="wind.csv"))
    storage.close()
    return storage


def test_init_makes_a_repository_and_says_where(tupli: Tupli, tmp_path: Path):
    done = tupli("init", tmp_path / "new" / "project")
    assert done.status == 0
    assert done.out == f"made an empty repository in '{tmp_path / 'new' / 'project' / '.tupli'}'\n"
    assert (tmp_path / "new" / "project" / ".tupli" / ".gitignore").read_text() == "*\n"


def test_init_as_json_tells_id_and_role(tupli: Tupli, tmp_path: Path):
    done = tupli("init", "--bare", "--json", tmp_path)
    assert done.json["role"] == "bare"
    assert json.loads((tmp_path / ".tupli" / "format.json").read_text())["id"] == done.json["id"]


def test_init_twice_is_an_error_that_changes_nothing(tupli: Tupli, tmp_path: Path):
    tupli("init", tmp_path)
    before = (tmp_path / ".tupli" / "format.json").read_text()
    done = tupli("init", tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "there is a repository in" in done.err
    assert (tmp_path / ".tupli" / "format.json").read_text() == before


def test_init_where_a_file_is_says_so(tupli: Tupli, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    done = tupli("init", tmp_path / "file")
    assert done.status == 2
    assert done.err.startswith(f"error: '{tmp_path / 'file'}' is not a folder")


@pytest.mark.parametrize("command", [["list"], ["show", "abcdefa"], ["cat", "abcdefa"]])
def test_without_a_repository_the_error_names_nested_ones(
    tupli: Tupli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
):
    FileStorage(tmp_path / "deep" / "er")
    monkeypatch.chdir(tmp_path)
    done = tupli(*command)
    assert (done.status, done.out) == (10, "")
    assert "error: there is no repository at or above" in done.err
    assert f"hint: there is one in '{tmp_path / 'deep' / 'er'}'" in done.err


def test_list_in_a_pipe_is_tab_separated(tupli: Tupli, project: FileStorage):
    (header,) = project.list_benchmarks()
    done = tupli("list")
    names, row = (line.split("\t") for line in done.out.splitlines())
    assert names == ["id", "name", "version", "difficulty", "episodes", "published", "by", "at"]
    assert row[:5] == [header.id[:12], "cartpole", "1.2", "easy", "2"]


def test_list_from_elsewhere(tupli: Tupli, project: FileStorage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")
    assert tupli("-C", project.storage_dir, "list").out.count("\n") == 2


def test_list_episodes_as_json_is_one_array_of_headers(tupli: Tupli, project: FileStorage):
    done = tupli("list", "episodes", "--json")
    headers = project.list_episodes()
    assert done.json == [header.model_dump(mode="json") for header in headers]
    assert [header["seed"] for header in done.json] == [3, 4]


def test_list_episodes_of_one_benchmark(tupli: Tupli, project: FileStorage):
    (benchmark,) = project.list_benchmarks()
    env = TupliEnvWrapper(gymnasium.make("Acrobot-v1"), project)
    other = env.store("other")
    assert len(tupli("list", "episodes", "--benchmark", benchmark.id[:9], "--json").json) == 2
    assert tupli("list", "episodes", "--benchmark", other, "--json").json == []
    assert tupli("list", "artifacts", "--benchmark", other).status == 2


def test_list_artifacts(tupli: Tupli, project: FileStorage):
    assert tupli("list", "artifacts").out.splitlines()[1].split("\t")[1:3] == ["wind.csv", "7 B"]


def test_list_on_a_terminal_is_a_table(project: FileStorage):
    pty = pytest.importorskip("pty")
    seen = bytearray()

    def read(descriptor: int) -> bytes:
        part = os.read(descriptor, 4096)
        seen.extend(part)
        return part

    arguments = [sys.executable, "-m", "tupli_repo", "-C", str(project.storage_dir), "list"]
    assert pty.spawn(arguments, read) == 0
    assert b"cartpole" in seen
    assert b"published" not in seen  # nothing is, so there is more room for the rest
    assert b"\t" not in seen


def test_show_each_kind(tupli: Tupli, project: FileStorage):
    (benchmark,) = project.list_benchmarks()
    episode = project.list_episodes()[0]
    (artifact,) = project.list_artifacts()

    shown = tupli("show", benchmark.id[:7], "--json").json
    assert (shown["kind"], shown["metadata"]["name"], shown["episodes"]) == (
        "benchmark",
        "cartpole",
        2,
    )

    shown = tupli("show", episode.id, "--json").json
    assert shown["return"] == episode.n_tuples
    assert shown["columns"]["observations"] == f"float32 [{episode.n_tuples + 1}, 4]"

    shown = tupli("show", artifact.id[:12], "--json").json
    assert (shown["kind"], shown["name"], shown["size"]) == ("artifact", "wind.csv", 7)
    assert "wind.csv" in tupli("show", artifact.id[:12]).out


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("../../etc/passwd", 2, "'../../etc/passwd' is not an id"),
        ("abc", 2, "'abc' is not an id"),
        ("ABCDEFA", 2, "'ABCDEFA' is not an id"),
        ("a\nb\x1b[31m", 2, "'a\\nb\\x1b[31m' is not an id"),
        ("0" * 64, 1, "is not in this repository"),
    ],
)
def test_a_wrong_id_is_told_in_one_line(
    tupli: Tupli, project: FileStorage, text: str, status: int, message: str
):
    for command in ("cat", "remove"):
        done = tupli(command, text)
        assert (done.status, done.out) == (status, "")
        error, hint = done.err.splitlines()
        assert error.startswith("error: ")
        assert message in error
        assert hint.startswith("hint: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("../../etc/passwd", "nothing here is called '../../etc/passwd'"),
        ("a\nb\x1b[31m", "nothing here is called 'a\\nb\\x1b[31m'"),
        ("0" * 64, "is not in this repository"),
    ],
)
def test_a_wrong_name_is_told_in_one_line(
    tupli: Tupli, project: FileStorage, text: str, message: str
):
    for command in ("show", "replay"):
        done = tupli(command, text)
        assert (done.status, done.out) == (1, "")
        assert message in done.err.splitlines()[0]
        assert len(done.err.splitlines()) == 2


def test_what_is_not_published_is_found_by_its_title(tupli: Tupli, project: FileStorage):
    (benchmark,) = project.list_benchmarks()
    assert tupli("show", "cartpole", "--json").json["id"] == benchmark.id
    assert tupli("show", "wind.csv", "--json").json["kind"] == "artifact"
    assert len(tupli("list", "episodes", "--benchmark", "cartpole", "--json").json) == 2
    done = tupli("replay", "cartpole")
    assert done.status == 2
    assert "'tupli replay --all cartpole'" in done.err


def test_errors_are_json_where_json_is_asked_for(tupli: Tupli, project: FileStorage):
    done = tupli("show", "--json", "0000000")
    assert done.status == done.json["error"]["exit_status"] == 1
    assert done.json["error"]["message"].startswith("benchmark, artifact or episode '0000000'")
    assert done.json["error"]["hint"]
    assert done.err == ""
    assert tupli("list", "nonsense", "--json").json["error"]["exit_status"] == 2


def test_cat_writes_an_artifact_as_it_is(project: FileStorage):
    (artifact,) = project.list_artifacts()
    arguments = [sys.executable, "-m", "tupli_repo", "cat", artifact.id[:7]]
    done = subprocess.run(arguments, cwd=project.storage_dir, capture_output=True, check=True)
    assert done.stdout == b"wind\n\xff\n"


def test_cat_to_a_file_replaces_nothing(tupli: Tupli, project: FileStorage, tmp_path: Path):
    (artifact,) = project.list_artifacts()
    target = tmp_path / "out.csv"
    assert tupli("cat", artifact.id, "-o", target).status == 0
    assert target.read_bytes() == b"wind\n\xff\n"
    again = tupli("cat", artifact.id, "-o", target)
    assert (again.status, target.read_bytes()) == (1, b"wind\n\xff\n")
    assert "file exists" in again.err


def test_cat_of_any_object_as_json(tupli: Tupli, project: FileStorage):
    (benchmark,) = project.list_benchmarks()
    found = tupli("cat", benchmark.id, "--json").json
    assert (found["kind"], found["links"]) == ("benchmark", [benchmark.env])
    assert json.loads(found["text"])["name"] == "cartpole"
    document = json.loads(tupli("cat", benchmark.env).out)
    assert document["format"] == "tupli.env/1"
    (artifact,) = project.list_artifacts()
    assert tupli("cat", artifact.id, "--json").json["base64"] == "d2luZAr/Cg=="


def test_remove_hides_and_storing_again_brings_back(tupli: Tupli, project: FileStorage):
    (benchmark,) = project.list_benchmarks()
    first = project.list_episodes()[0].id
    done = tupli("remove", benchmark.id[:8], first, first, "--json")
    assert done.json == [
        {"kind": "benchmark", "id": benchmark.id},
        {"kind": "episode", "id": first},
    ]
    assert tupli("list", "--json").json == []
    assert len(tupli("list", "episodes", "--json").json) == 1
    assert tupli("remove", first).status == 1
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), project)
    env.store("cartpole", description="balance", difficulty="easy", version="1.2")
    assert [header["id"] for header in tupli("list", "--json").json] == [benchmark.id]


def test_remove_with_one_unknown_id_hides_nothing(tupli: Tupli, project: FileStorage):
    ids = [header.id for header in project.list_episodes()]
    assert tupli("remove", *ids, "0000000").status == 1
    assert len(tupli("list", "episodes", "--json").json) == 2


def test_config_sets_shows_and_forgets(tupli: Tupli, project: FileStorage):
    assert tupli("config", "user.name").status == 1
    assert tupli("config", "--user", "user.name", "Ada").status == 0
    assert tupli("config", "user.name", "Grace \u2603 Hopper").status == 0
    assert tupli("config", "user.name").out == "Grace \u2603 Hopper\n"
    assert tupli("config", "--user", "user.name", "--json").json == {"user.name": "Ada"}
    assert "user.name\tGrace" in tupli("config").out
    assert tupli("config", "--json").json == {"user.name": "Grace \u2603 Hopper"}
    assert tupli("config", "--unset", "user.name").status == 0
    stored = FileStorage(project.storage_dir).store_artifact(b"1", ArtifactMetadata(name="one"))
    assert stored.created_by == "Ada"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "user.nam", "x"], "'user.nam' is not a setting"),
        (["config", "user.nam"], "'user.nam' is not a setting"),
        (["config", "record.sync_interval_s", "often"], "'often' is not a float"),
        (["config", "record.sync_interval_s", "--", "-1"], "must be 0 or more"),
        (["config", "--unset"], "which setting is meant"),
        (["list", "everything"], "everything"),
        (["frobnicate"], "no such command 'frobnicate'"),
        (["show"], "missing argument"),
        (["--nonsense"], "no such option"),
    ],
)
def test_wrong_usage_is_exit_2_with_a_hint(
    tupli: Tupli, project: FileStorage, arguments: list[str], message: str
):
    done = tupli(*arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "hint: " in done.err


def test_a_damaged_object_is_exit_12_and_names_the_file(tupli: Tupli, project: FileStorage):
    (pack,) = (project.root / "packs").glob("*.pack")
    damaged = bytearray(pack.read_bytes())
    damaged[60] ^= 0x80
    pack.chmod(0o644)
    pack.write_bytes(damaged)
    empty_trash(project.root.parent)
    episode = project.list_episodes()[0].id
    done = tupli("show", episode)
    assert (done.status, done.out) == (12, "")
    assert str(pack) in done.err


def test_a_newer_repository_is_refused(tupli: Tupli, project: FileStorage):
    file = project.root / "format.json"
    file.chmod(0o644)
    file.write_text(json.dumps({**json.loads(file.read_text()), "tupli": 7}))
    done = tupli("list")
    assert done.status == 1
    assert "has format 7; this version reads format 1" in done.err
    assert "pip install -U tupli-repo" in done.err


def test_the_help_of_every_command_ends_with_its_exit_statuses(tupli: Tupli):
    overview = tupli("--help").out
    assert overview.rstrip().splitlines()[-2].strip().startswith("Exit status: 0")
    commands = re.findall(r"^  (\w+)  ", overview.split("Commands:")[1], re.MULTILINE)
    assert len(commands) >= 7
    for command in commands:
        done = tupli(command, "--help")
        assert done.status == 0
        assert "--json" in done.out
        assert done.out.rstrip().split("\n\n")[-1].strip().startswith("Exit status: 0")


def test_a_closed_pipe_ends_quietly(project: FileStorage):
    program = f"{sys.executable} -m tupli_repo list episodes --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", program], cwd=project.storage_dir, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"[", b"")


def test_an_unexpected_error_is_one_line_unless_asked(
    tupli: Tupli, project: FileStorage, monkeypatch: pytest.MonkeyPatch
):
    (project.root / "config.toml").mkdir()
    done = tupli("list")
    assert done.status == 1
    assert len(done.err.splitlines()) <= 2
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("conditions", "seeds"),
    [
        (["seed = 3"], [3]),
        (["seed != 3"], [4]),
        (["seed in [3, 4, 5]"], [3, 4]),
        (["n_tuples >= 1", "seed > 3"], [4]),
        (["terminated = true"], [3, 4]),
        (["terminated = false"], []),
        (["created_by = nobody"], []),
        (["metadata.x = null"], []),
        (["seed<=3"], [3]),
    ],
)
def test_list_where(tupli: Tupli, project: FileStorage, conditions: list[str], seeds: list[int]):
    arguments = [part for condition in conditions for part in ("--where", condition)]
    found = tupli("list", "episodes", "--json", *arguments).json
    assert [header["seed"] for header in found] == seeds


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("seed", "'seed' is not a condition"),
        ("= 3", "'= 3' is not a condition"),
        ("seed =", "'seed =' is not a condition"),
        ("seed in 3", "needs a list behind 'in'"),
        ("seed > null", "null is only ever equal to null"),
    ],
)
def test_a_wrong_condition_is_told(
    tupli: Tupli, project: FileStorage, condition: str, message: str
):
    done = tupli("list", "episodes", "--where", condition)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "hint: " in done.err


def test_list_where_finds_benchmarks_and_artifacts_too(tupli: Tupli, project: FileStorage):
    assert len(tupli("list", "--json", "--where", "metadata.name = cartpole").json) == 1
    assert tupli("list", "--json", "--where", "metadata.name = other").json == []
    assert len(tupli("list", "artifacts", "--json", "--where", "size < 8").json) == 1


def test_list_in_pages(tupli: Tupli, project: FileStorage):
    both = tupli("list", "episodes", "--json").json
    assert tupli("list", "episodes", "--json", "--limit", 1).json == both[:1]
    assert tupli("list", "episodes", "--json", "--limit", 1, "--skip", 1).json == both[1:]
    assert tupli("list", "episodes", "--json", "--skip", 5).json == []


def test_show_the_steps_of_an_episode(tupli: Tupli, project: FileStorage):
    episode = project.list_episodes(include_tuples=True)[0]
    assert isinstance(episode, EpisodeItem)
    shown = tupli("show", episode.id, "--steps", 2, "--json").json
    assert [step["state"] for step in shown["steps"].values()] == [
        step.state for step in episode.tuples[:2]
    ]
    assert "state" in tupli("show", episode.id, "--steps", 1).out


def test_status_counts_what_is_here(tupli: Tupli, project: FileStorage):
    found = tupli("status", "--json").json
    steps = sum(header.n_tuples for header in project.list_episodes())
    assert (found["benchmarks"], found["episodes"], found["artifacts"]) == (1, 2, 1)
    assert (found["steps"], found["packs"], found["journals"]) == (steps, 1, 0)
    assert (found["hidden"], found["pending"], found["role"]) == (0, 0, "work")
    assert found["size_bytes"] > 1000
    tupli("remove", project.list_episodes()[0].id)
    text = tupli("status").out
    assert "1 removed here" in text
    assert f"repository in '{project.root}' (work)" in text


def test_status_tells_what_is_pending(tupli: Tupli, project: FileStorage, tmp_path: Path):
    """A copy by hand: the pack has come, its benchmark has not."""
    half = FileStorage(tmp_path / "half")
    (pack,) = (project.root / "packs").iterdir()
    (half.root / "packs" / pack.name).write_bytes(pack.read_bytes())
    assert tupli("-C", half.storage_dir, "list", "episodes", "--json").json == []
    assert tupli("-C", half.storage_dir, "status", "--json").json["pending"] == 2
    assert "2 pending" in tupli("-C", half.storage_dir, "status").out
    for file in (project.root / "objects").rglob("*"):
        if file.is_file():
            (half.root / file.relative_to(project.root)).write_bytes(file.read_bytes())
    assert len(tupli("-C", half.storage_dir, "list", "episodes", "--json").json) == 2
    assert tupli("-C", half.storage_dir, "status", "--json").json["pending"] == 0


def test_du_tells_what_takes_how_much(tupli: Tupli, project: FileStorage):
    benchmark, artifact = tupli("du", "--json").json
    assert (benchmark["kind"], benchmark["episodes"]) == ("benchmark", 2)
    assert artifact["name"] == "wind.csv"
    packs = sum(path.stat().st_size for path in (project.root / "packs").iterdir())
    assert packs / 2 < benchmark["stored_bytes"] < benchmark["raw_bytes"]
    assert tupli("du").out.splitlines()[0].split("\t")[0] == "kind"


def test_restore_brings_back_what_was_removed(tupli: Tupli, project: FileStorage):
    ids = [header.id for header in project.list_episodes()]
    (benchmark,) = project.list_benchmarks()
    tupli("remove", *ids, benchmark.id)
    listed = tupli("restore", "--json").json
    assert {item["id"] for item in listed} == {*ids, benchmark.id}
    assert tupli("restore", ids[0][:9], "0000000").status == 1
    assert tupli("list", "episodes", "--json").json == []
    assert tupli("restore", ids[0][:9], benchmark.id).status == 0
    assert [header["id"] for header in tupli("list", "episodes", "--json").json] == [ids[0]]
    assert tupli("restore", ids[0]).status == 1
    assert tupli("restore").out.splitlines() == ["kind\tid", f"episode\t{ids[1]}"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(tupli: Tupli, shell: str):
    done = tupli("completion", shell)
    assert done.status == 0
    assert "_TUPLI_COMPLETE" in done.out
    assert tupli("completion", shell, "--json").json["script"].strip() == done.out.strip()
    assert tupli("completion", "tcsh").status == 2


def test_the_shell_completes_commands():
    environment = {**os.environ, "_TUPLI_COMPLETE": "bash_complete", "COMP_WORDS": "tupli re"}
    done = subprocess.run(
        [sys.executable, "-m", "tupli_repo"],
        env={**environment, "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.removeprefix("plain,") for line in done.stdout.split()]
    assert found == ["remote", "remove", "replay", "restore"]


def test_list_where_takes_the_ids_that_list_prints(tupli: Tupli, project: FileStorage):
    (benchmark,) = project.list_benchmarks()
    of_it = f"benchmark_id = {benchmark.id[:12]}"
    assert len(tupli("list", "episodes", "--json", "--where", of_it).json) == 2
    other = "benchmark_id = 0000000"
    assert tupli("list", "episodes", "--json", "--where", other).json == []


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("terminated = True", "is not JSON"),
        ("metadata.a = {bad", "is not JSON"),
        ("nokey = 1", "'nokey' is not a key"),
        ("metadata.name = x", "is not a key"),
    ],
)
def test_conditions_that_could_never_match_are_told(
    tupli: Tupli, project: FileStorage, condition: str, message: str
):
    kind = "artifacts" if condition.startswith("metadata.name") else "episodes"
    done = tupli("list", kind, "--where", condition)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_a_full_stdout_is_told(project: FileStorage):
    if not Path("/dev/full").exists():
        pytest.skip("no such device here")
    command = f"{sys.executable} -m tupli_repo list > /dev/full"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project.storage_dir,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left on device: 'stdout'")


def test_a_closed_stdout_is_no_surprise(project: FileStorage):
    command = f"{sys.executable} -m tupli_repo list >&-"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project.storage_dir,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
