"""publish, unpublish, yank, log, pin, and revisions wherever a command takes an id."""

from pathlib import Path
from typing import Any

import gymnasium
import pytest

from tests.cli.calling import Tupli
from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.schema import ArtifactMetadata, FilterEQ


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStorage:
    """A project with a benchmark, four episodes and an artifact, as the working folder."""
    folder = tmp_path / "project"
    storage = FileStorage(folder)
    monkeypatch.chdir(folder)
    record(storage, "Cart Pole", range(4))
    storage.store_artifact(b"wind\n", ArtifactMetadata(name="wind.csv"))
    storage.close()
    return storage


def record(storage: FileStorage, name: str, seeds: range, version: str = "1.2") -> str:
    """Record an episode per seed in a benchmark of that name and version; returns its id."""
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    benchmark_id = env.store(name, version=version)
    for seed in seeds:
        env.reset(seed=seed)
        while not any(env.step(1)[2:4]):
            pass
    env.close()
    storage.flush()
    return benchmark_id


def benchmark_of(project: FileStorage, version: str = "1.2") -> str:
    chosen = FilterEQ(key="metadata.version", value=version)
    return project.list_benchmarks(chosen)[0].id


def revisions(tupli: Tupli, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tupli("log", name, "--json").json
    return found


# ---- publish


def test_publish_with_episodes_says_what_is_published_and_how_to_cite_it(
    tupli: Tupli, project: FileStorage
):
    done = tupli("publish", benchmark_of(project), "--episodes", "-m", "first")
    assert done.status == 0, done.err
    (item,) = revisions(tupli, "cart-pole")
    assert f"cart-pole@{item['revision'][:12]}" in done.out
    assert "benchmark 'Cart Pole' with 4 episodes (+4), revision 1" in done.out
    assert {header.id for header in project.list_episodes()} == {
        header.id for header in project.list_episodes(FilterEQ(key="published_in", value="global"))
    }


def test_publish_as_json_is_the_report(tupli: Tupli, project: FileStorage):
    done = tupli("publish", benchmark_of(project), "--json")
    assert done.status == 0
    (item,) = revisions(tupli, "cart-pole")
    assert item["revision"] in done.out
    assert item["n_episodes"] == 0


def test_publish_with_where_publishes_only_what_matches(tupli: Tupli, project: FileStorage):
    done = tupli("publish", benchmark_of(project), "--where", "seed >= 2")
    assert done.status == 0, done.err
    found = tupli("list", "episodes", "--where", "published_in = global", "--json").json
    assert sorted(header["seed"] for header in found) == [2, 3]


def test_publish_keeps_group_name_message_licence_and_citation(
    tupli: Tupli, project: FileStorage, tmp_path: Path
):
    (tmp_path / "cite.bib").write_text("@misc{cart, title={Kärtchen}}")
    done = tupli(
        *("publish", benchmark_of(project), "--group", "lab", "--as", "cart", "-m", "why"),
        *("--licence", "CC-BY-4.0", "--citation", tmp_path / "cite.bib"),
    )
    assert done.status == 0, done.err
    (item,) = revisions(tupli, "lab/cart")
    assert (item["group"], item["name"], item["message"]) == ("lab", "cart", "why")
    assert (item["licence"], item["citation"]) == ("CC-BY-4.0", "@misc{cart, title={Kärtchen}}")
    (header,) = tupli("list", "--json").json
    assert header["published_in"] == ["lab"]


def test_publish_of_an_episode_publishes_its_benchmark(tupli: Tupli, project: FileStorage):
    header = project.list_episodes()[0]
    assert tupli("publish", header.id).status == 0
    (item,) = revisions(tupli, "cart-pole")
    assert item["n_episodes"] == 1
    assert project.list_benchmarks()[0].published_in == ["global"]


def test_publish_of_an_artifact(tupli: Tupli, project: FileStorage):
    assert tupli("publish", project.list_artifacts()[0].id).status == 0
    (item,) = tupli("list", "names", "--json").json
    assert (item["kind"], item["name"]) == ("artifact", "wind.csv")
    (artifact,) = tupli("list", "artifacts", "--json").json
    assert artifact["published_in"] == ["global"]


def test_publishing_again_with_nothing_new_makes_no_revision(tupli: Tupli, project: FileStorage):
    first, done = (tupli("publish", benchmark_of(project), "--episodes") for _ in range(2))
    assert (first.status, done.status) == (0, 0)
    assert "was published already" in done.out
    assert len(revisions(tupli, "cart-pole")) == 1


def test_a_citation_that_is_no_text_or_not_there_is_an_error(
    tupli: Tupli, project: FileStorage, tmp_path: Path
):
    (tmp_path / "cite.pdf").write_bytes(b"%PDF\xff\xfe")
    (tmp_path / "long.txt").write_bytes(b"x" * (1 << 20) + b"y")
    for name, told in (("cite.pdf", "not UTF-8"), ("long.txt", "too long")):
        done = tupli("publish", benchmark_of(project), "--citation", tmp_path / name)
        assert (done.status, done.out) == (2, "")
        assert told in done.err
    done = tupli("publish", benchmark_of(project), "--citation", tmp_path / "none")
    assert done.status == 1
    assert "none" in done.err
    assert tupli("list", "names", "--json").json == []


@pytest.mark.parametrize(
    ("name", "status"), [("nowhere", 1), ("0123456789", 1), ("nowhere@3", 1), ("lab/nowhere", 1)]
)
def test_publish_of_what_is_not_here_fails(
    tupli: Tupli, project: FileStorage, name: str, status: int
):
    done = tupli("publish", name, "--json")
    assert done.status == status
    assert done.json["error"]["exit_status"] == status


@pytest.mark.parametrize("option", ["--as", "--group"])
@pytest.mark.parametrize("name", ["../x", "A", "con", "x.lock", ""])
def test_publish_under_what_is_no_name_is_a_usage_error(
    tupli: Tupli, project: FileStorage, option: str, name: str
):
    done = tupli("publish", benchmark_of(project), option, name)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert tupli("list", "names", "--json").json == []


def test_publish_with_a_key_that_is_none_is_a_usage_error(tupli: Tupli, project: FileStorage):
    done = tupli("publish", benchmark_of(project), "--where", "sead = 1")
    assert done.status == 2
    assert "'sead' is not a key" in done.err


# ---- unpublish and yank


def test_unpublish_takes_back_what_matches_and_older_revisions_stay(
    tupli: Tupli, project: FileStorage
):
    tupli("publish", benchmark_of(project), "--episodes")
    done = tupli("unpublish", "cart-pole", "--where", "seed = 0", "-m", "broken sensor")
    assert done.status == 0, done.err
    newest, first = revisions(tupli, "cart-pole")
    assert (newest["n_episodes"], newest["n_withdrawn"]) == (3, 1)
    assert newest["message"] == "broken sensor"
    assert len(TupliDataset.from_pin(project, f"cart-pole@{first['revision'][:9]}").preview()) == 4
    assert len(tupli("list", "episodes", "--json").json) == 4
    told = tupli("list", "episodes", "--where", "published_in != global", "--json").json
    assert [header["seed"] for header in told] == [0]


def test_unpublish_of_what_is_not_published_fails(tupli: Tupli, project: FileStorage):
    done = tupli("unpublish", "cart-pole")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: ")


def test_a_yanked_revision_is_left_by_its_name_and_kept_by_its_hash(
    tupli: Tupli, project: FileStorage
):
    tupli("publish", benchmark_of(project), "--where", "seed = 0")
    tupli("publish", benchmark_of(project), "--where", "seed = 1")
    done = tupli("yank", "cart-pole@2", "-m", "wrong reward")
    assert done.status == 0, done.err
    newest, first = revisions(tupli, "cart-pole")
    assert newest["yanked"] == "wrong reward"
    assert first["is_head"]
    assert tupli("show", "cart-pole", "--json").json["release"]["revision"] == first["revision"]
    citable = f"cart-pole@{newest['revision'][:12]}"
    assert tupli("show", citable, "--json").json["release"]["n_episodes"] == 2
    assert "yanked: wrong reward" in tupli("log", "cart-pole").out


def test_yank_of_what_is_no_revision_fails(tupli: Tupli, project: FileStorage):
    done = tupli("yank", "cart-pole@7", "--json")
    assert done.status == 1
    assert done.json["error"]["exit_status"] == 1


# ---- log and list


def test_log_tells_each_revision_the_newest_first(tupli: Tupli, project: FileStorage):
    tupli("config", "user.name", "ada")
    tupli("publish", benchmark_of(project), "--where", "seed = 0", "-m", "first")
    tupli("publish", benchmark_of(project), "--episodes", "-m", "all of it")
    done = tupli("log", "cart-pole")
    assert done.status == 0, done.err
    second, first = done.table
    assert [first[0], first[2], first[3]] == ["1", "1.2", "ada"]
    assert (first[5], first[-1]) == ("1 (+1)", "first")
    assert (second[0], second[5], second[-1]) == ("2", "4 (+3)", "all of it")
    name, _, digits = first[1].partition("@")
    assert name == "cart-pole"
    assert revisions(tupli, "cart-pole")[1]["revision"].startswith(digits)
    assert [row[0] for row in tupli("log", "cart-pole", "--limit", 1).table] == ["2"]


def test_log_without_a_name_tells_all_names(tupli: Tupli, project: FileStorage):
    assert tupli("log", "--json").json == []
    tupli("publish", benchmark_of(project))
    tupli("publish", project.list_artifacts()[0].id)
    names = [item["name"] for item in tupli("log", "--json").json]
    assert names == ["wind.csv", "cart-pole"]


def test_log_of_a_name_that_is_not_here_fails(tupli: Tupli, project: FileStorage):
    done = tupli("log", "nowhere")
    assert (done.status, done.out) == (1, "")
    assert "nowhere" in done.err


def test_list_names_tells_what_each_name_leads_to(tupli: Tupli, project: FileStorage):
    tupli("publish", benchmark_of(project), "--episodes")
    tupli("pin", "train", "--where", "seed > 1")
    done = tupli("list", "names")
    assert done.status == 0, done.err
    assert [row[:3] for row in done.table] == [
        ["global", "benchmark", "cart-pole"],
        ["local", "dataset", "train"],
    ]


def test_list_shows_where_things_are_published(tupli: Tupli, project: FileStorage):
    tupli("publish", benchmark_of(project), "--where", "seed = 0")
    for kind, expected in (("benchmarks", ["global"]), ("episodes", ["global", "", "", ""])):
        done = tupli("list", kind)
        column = done.out.splitlines()[0].split("\t").index("published")
        assert [row[column] for row in done.table] == expected


# ---- revisions where an id is expected


def test_show_of_a_revision_shows_the_release_and_its_benchmark(tupli: Tupli, project: FileStorage):
    first = benchmark_of(project)
    tupli("publish", first)
    second = record(project, "Cart Pole", range(1), version="2.0")
    tupli("publish", second)
    for revision, version in (
        ("cart-pole@1", "1.2"),
        ("cart-pole@2", "2.0"),
        ("cart-pole", "2.0"),
        ("global/cart-pole@v1.2", "1.2"),
    ):
        found = tupli("show", revision, "--json").json
        assert found["kind"] == "release"
        assert found["release"]["version"] == version
        assert [b["metadata"]["version"] for b in found["benchmarks"]] == [version]
    assert "version" in tupli("show", "cart-pole@1").out


def test_names_stand_for_benchmarks_and_artifacts(tupli: Tupli, project: FileStorage):
    oid = benchmark_of(project)
    tupli("publish", oid)
    artifact = project.list_artifacts()[0].id
    tupli("publish", artifact)
    assert len(tupli("list", "episodes", "--benchmark", "cart-pole", "--json").json) == 4
    assert tupli("cat", "wind.csv").out == "wind\n"
    assert tupli("diff", "cart-pole@1", oid).out == "nothing differs\n"
    assert tupli("replay", "--all", "cart-pole", "--limit", 1).status == 0
    assert tupli("remove", "cart-pole", "--json").json == [{"kind": "benchmark", "id": oid}]
    assert tupli("list", "--json").json == []


def test_a_dataset_where_a_benchmark_is_due_is_told(tupli: Tupli, project: FileStorage):
    record(project, "Other", range(1))
    tupli("pin", "train")
    done = tupli("list", "episodes", "--benchmark", "train")
    assert (done.status, done.out) == (2, "")
    assert "train" in done.err


# ---- pin


def test_pin_prints_revision_and_digest(tupli: Tupli, project: FileStorage):
    tupli("publish", benchmark_of(project))
    done = tupli("pin", "train", "--benchmark", "cart-pole", "--where", "seed > 0", "-m", "all")
    assert done.status == 0, done.err
    revision, digest, count = (line.split()[1] for line in done.out.splitlines())
    found = TupliDataset.from_pin(project, revision)
    assert sorted(header.seed or 0 for header in found.preview()) == [1, 2, 3]
    assert (found.digest, len(found.preview())) == (digest, int(count))
    assert tupli("pin", "train", "--where", "seed > 0", "--json").json == {
        "revision": revision,
        "digest": digest,
        "episodes": 3,
    }


def test_a_pin_is_local_until_it_is_published(tupli: Tupli, project: FileStorage):
    tupli("pin", "train")
    assert [item["group"] for item in revisions(tupli, "local/train")] == ["local"]
    done = tupli("publish", "train")
    assert done.status == 0, done.err
    (item,) = revisions(tupli, "global/train")
    assert (item["kind"], item["n_episodes"]) == ("dataset", 4)
    assert item["digest"] == revisions(tupli, "local/train")[0]["digest"]


def test_pin_of_nothing_or_of_an_unknown_benchmark_fails(tupli: Tupli, project: FileStorage):
    assert tupli("pin", "train", "--where", "seed = 99").status == 2
    assert tupli("pin", "train", "--benchmark", "nowhere").status == 1
    assert tupli("pin", "train", "--benchmark", "nowhere@1").status == 1
    assert tupli("pin", "train", "--benchmark", "0123456789").status == 1
    assert tupli("pin", "../train").status == 2
    assert tupli("list", "names", "--json").json == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "x"),
        ("unpublish", "x"),
        ("yank", "x@1"),
        ("log",),
        ("log", "x"),
        ("pin", "x"),
        ("list", "names"),
    ],
    ids=" ".join,
)
def test_without_a_repository_it_is_told(
    tupli: Tupli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
):
    monkeypatch.chdir(tmp_path)
    done = tupli(*arguments)
    assert (done.status, done.out) == (10, "")
