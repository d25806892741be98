"""remote, clone, fetch, pull, push, sync, bundle, status: what they print, their JSON, failures."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import gymnasium
import pytest

from tests.cli.calling import Tupli
from tupli_repo import FileStorage, TupliEnvWrapper
from tupli_repo.schema import ArtifactMetadata, FilterEQ


class Lab(NamedTuple):
    """Ada's project, which is the working folder, beside a drive that is its 'origin'."""

    ada: FileStorage
    drive: Path
    benchmark: str


@pytest.fixture
def lab(tupli: Tupli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Four episodes of which three are published, and nothing pushed."""
    ada = FileStorage(tmp_path / "ada")
    monkeypatch.chdir(tmp_path / "ada")
    assert tupli("init", "--bare", tmp_path / "drive").status == 0
    benchmark = record(ada, range(4))
    ada.publish(benchmark, episodes=FilterEQ(key="seed", value=3), message="one")
    ada.publish(benchmark, episodes=FilterEQ(key="seed", value=2) | FilterEQ(key="seed", value=1))
    ada.add_remote("origin", tmp_path / "drive")
    return Lab(ada, tmp_path / "drive", benchmark)


def record(storage: FileStorage, seeds: range, *, length: float = 0.5) -> str:
    """Record an episode per seed in a cart pole; returns the benchmark's id."""
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    env.unwrapped.length = length  # type: ignore[attr-defined]
    benchmark = env.store("Cart Pole", version=str(length))
    for seed in seeds:
        env.reset(seed=seed)
        while not any(env.step(1)[2:4]):
            pass
    env.close()
    storage.flush()
    return benchmark


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# ---- init


def test_a_bare_repository_for_a_group_may_be_written_by_it(tupli: Tupli, tmp_path: Path):
    done = tupli("init", "--bare", "--shared", tmp_path / "drive", "--json")
    assert done.status == 0, done.err
    assert done.json["role"] == "bare"
    assert Path(done.json["root"]).stat().st_mode & 0o2070 == 0o2070
    assert tupli("init", tmp_path / "mine").status == 0
    assert (tmp_path / "mine" / ".tupli").stat().st_mode & 0o2000 == 0


def test_a_group_that_there_is_not_is_told(tupli: Tupli, tmp_path: Path):
    done = tupli("init", "--bare", "--shared=no-such-group", tmp_path / "drive")
    assert (done.status, done.out) == (2, "")
    assert "'no-such-group'" in done.err


# ---- remote


def test_remotes_are_added_listed_renamed_and_forgotten(tupli: Tupli, lab: Lab, tmp_path: Path):
    done = tupli("remote", "add", "backup", tmp_path / "backup")
    assert (done.status, done.out) == (0, f"added 'backup': {tmp_path / 'backup'}\n")
    assert tupli("remote").out == (
        f"name\turl\nbackup\t{tmp_path / 'backup'}\norigin\t{lab.drive}\n"
    )
    assert tupli("remote", "list").out == tupli("remote").out
    assert tupli("remote", "rename", "backup", "spare").out.startswith("'backup' is now 'spare'")
    assert tupli("remote", "remove", "spare").out == f"forgot 'spare': {tmp_path / 'backup'}\n"
    expected = [{"name": "origin", "url": str(lab.drive)}]
    assert tupli("remote", "--json").json == expected
    assert tupli("remote", "list", "--json").json == expected
    assert tupli("remote", "--json", "list").json == expected


def test_remotes_as_json(tupli: Tupli, lab: Lab, tmp_path: Path):
    url = str(tmp_path / "backup")
    done = tupli("remote", "add", "backup", url, "--json")
    assert done.json == {"name": "backup", "url": url}
    assert tupli("remote", "rename", "backup", "spare", "--json").json["name"] == "spare"
    assert tupli("remote", "remove", "spare", "--json").json == {"name": "spare", "url": url}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["add", "origin", "elsewhere"], 2),
        (["add", "not a name", "elsewhere"], 2),
        (["add", "web", "https://example.org/lab"], 2),
        (["add", "alone"], 2),
        (["remove", "nobody"], 1),
        (["rename", "nobody", "somebody"], 1),
        (["nonsense"], 2),
    ],
)
def test_what_cannot_be_a_remote_is_told(tupli: Tupli, lab: Lab, arguments: list[str], status: int):
    done = tupli("remote", *arguments)
    assert (done.status, done.out) == (status, "")
    assert done.err.startswith("error: ")
    assert "hint: " in done.err
    assert tupli("remote", *arguments, "--json").json["error"]["exit_status"] == status
    assert [item.name for item in lab.ada.remotes()] == ["origin"]


@pytest.mark.parametrize("command", ["", "list", "add", "remove", "rename"])
def test_the_help_of_every_remote_command_ends_with_its_exit_statuses(tupli: Tupli, command: str):
    done = tupli("remote", *command.split(), "--help")
    assert "--json" in done.out
    assert done.out.rstrip().split("\n\n")[-1].strip().startswith("Exit status: 0")


# ---- push


def test_push_tells_names_and_counts_first_then_what_was_done(tupli: Tupli, lab: Lab):
    done = tupli("push")
    assert done.status == 0, done.err
    assert done.err.startswith(f"pushing to 'origin' ({lab.drive})\n")
    assert "global/cart-pole (benchmark): 2 revisions, 3 episodes\n" in done.err
    assert done.out.startswith(f"pushed to 'origin' ({lab.drive}): 1 name, 2 revisions, 3 episodes")
    assert len(done.out.splitlines()) == 1
    assert len(FileStorage(lab.drive).list_episodes()) == 3


def test_pushing_again_says_that_all_is_there(tupli: Tupli, lab: Lab):
    tupli("push")
    before = files_of(lab.drive)
    done = tupli("push")
    assert (done.status, done.err) == (0, "")
    assert done.out == f"'origin' ({lab.drive}) has all that is published here\n"
    assert files_of(lab.drive) == before


def test_a_dry_run_tells_and_does_nothing(tupli: Tupli, lab: Lab):
    before = files_of(lab.drive)
    done = tupli("push", "--dry-run")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"would push to 'origin' ({lab.drive}):\n")
    assert "global/cart-pole (benchmark): 2 revisions, 3 episodes\n" in done.out
    assert tupli("push", "-n", "--json").json["dry_run"] is True
    assert files_of(lab.drive) == before
    tupli("push")
    assert tupli("push", "-n").out.startswith("nothing to push: 'origin'")


def test_push_as_json_is_the_report_alone(tupli: Tupli, lab: Lab):
    done = tupli("push", "--json")
    assert (done.status, done.err) == (0, "")
    assert done.json["verb"] == "push"
    assert (done.json["n_revisions"], done.json["n_episodes"]) == (2, 3)
    assert done.json["is_clean"] is True


def test_push_of_one_name_to_a_folder(tupli: Tupli, lab: Lab):
    artifact = lab.ada.store_artifact(b"wind\n", ArtifactMetadata(name="wind"))
    lab.ada.publish(artifact.id)
    assert tupli("push", lab.drive, "wind").status == 0
    assert [item.name for item in FileStorage(lab.drive).names()] == ["wind"]


def test_a_name_in_the_place_of_the_remote_is_told_with_the_right_command(tupli: Tupli, lab: Lab):
    Path("cart-pole").mkdir()  # a folder of that name changes nothing
    done = tupli("push", "cart-pole")
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        "error: 'cart-pole' is a name, not a remote\nhint: 'tupli push origin cart-pole'\n"
    )
    assert "'tupli sync origin global/cart-pole x'" in tupli("sync", "global/cart-pole", "x").err
    lab.ada.rename_remote("origin", "usb")
    assert "'tupli pull usb cart-pole'" in tupli("pull", "cart-pole").err
    lab.ada.remove_remote("usb")
    assert "'tupli push FOLDER cart-pole'" in tupli("push", "cart-pole").err


@pytest.mark.parametrize("verb", ["push", "pull", "fetch", "sync"])
def test_an_unknown_remote_and_an_unknown_name_are_told(tupli: Tupli, lab: Lab, verb: str):
    for arguments in (["nowhere"], ["origin", "no-such-name"]):
        done = tupli(verb, *arguments)
        assert (done.status, done.out) == (1, ""), done
        assert arguments[-1] in done.err
        assert "hint: " in done.err
    assert tupli(verb, "nowhere", "--json").json["error"]["exit_status"] == 1


@pytest.mark.parametrize("verb", ["push", "pull", "fetch", "sync"])
def test_a_drive_that_is_not_there_is_told(tupli: Tupli, lab: Lab, verb: str):
    shutil.rmtree(lab.drive)
    done = tupli(verb)
    assert (done.status, done.out) == (1, "")
    assert f"there is no repository in '{lab.drive}'" in done.err


def test_push_with_prune_removes_there_what_was_taken_back(tupli: Tupli, lab: Lab):
    tupli("push")
    lab.ada.unpublish("cart-pole", episodes=FilterEQ(key="seed", value=1))
    assert tupli("push").status == 0
    told = tupli("push", "--prune", "--dry-run", "--json").json
    assert (told["n_pruned"], told["dry_run"]) == (1, True)
    assert (
        "would remove there what was taken back: 1 episode\n" in tupli("push", "--prune", "-n").out
    )
    done = tupli("push", "--prune")
    assert done.status == 0, done.err
    assert "removed there what was taken back: 1 episode\n" in done.out
    assert tupli("push", "--prune", "--json").json["n_pruned"] == 0


# ---- clone, fetch, pull, sync


def test_clone_makes_a_repository_with_what_is_published(tupli: Tupli, lab: Lab, tmp_path: Path):
    tupli("push")
    done = tupli("clone", lab.drive, tmp_path / "ben")
    assert done.status == 0, done.err
    assert done.err.startswith(f"cloning '{lab.drive}'\n")
    assert f"into '{tmp_path / 'ben'}': 1 name, 2 revisions, 3 episodes" in done.out
    ben = FileStorage(tmp_path / "ben")
    assert sorted(header.seed or 0 for header in ben.episode_headers()) == [1, 2, 3]
    assert [item.url for item in ben.remotes()] == [str(lab.drive)]


def test_clone_without_a_folder_makes_one_of_the_sources_name(tupli: Tupli, lab: Lab):
    tupli("push")
    done = tupli("clone", lab.drive, "--bare", "--json")
    assert (done.status, done.err) == (0, "")
    assert done.json["root"] == str(Path.cwd() / "drive" / ".tupli")
    assert (done.json["verb"], done.json["n_episodes"]) == ("clone", 3)
    assert FileStorage("drive").format.role == "bare"


def test_what_cannot_be_cloned_is_told(tupli: Tupli, lab: Lab, tmp_path: Path):
    tupli("push")
    assert tupli("clone", tmp_path / "nowhere", "here").status == 10
    assert not Path("here").exists()
    lab.ada.rename_remote("origin", "usb")
    done = tupli("clone", lab.drive, ".")
    assert (done.status, done.out) == (1, "")
    assert "already" in done.err
    done = tupli("clone", lab.drive, "here", "--expect", "ab" * 32)
    assert (done.status, done.out) == (12, "")
    assert not Path("here").exists()


def test_fetch_brings_it_and_pull_unites_it(tupli: Tupli, lab: Lab, tmp_path: Path):
    tupli("push")
    tupli("clone", lab.drive, tmp_path / "ben")
    ben = FileStorage(tmp_path / "ben")
    record(ben, range(10, 12))
    ben.publish(lab.benchmark, episodes=True)
    ben.push()
    lab.ada.publish(lab.benchmark, episodes=True)
    assert "would fetch from 'origin'" in tupli("fetch", "-n").out
    told = tupli("pull", "-n", "--json").json
    assert (told["verb"], told["n_episodes"], told["dry_run"]) == ("pull", 2, True)
    done = tupli("fetch")
    assert done.status == 0, done.err
    assert done.err.startswith("fetching from 'origin'")
    assert "global/cart-pole (benchmark): 1 revision, 2 episodes" in done.err
    assert done.out.startswith("fetched from 'origin'")
    done = tupli("pull")
    assert done.status == 0, done.err
    assert done.out == f"all that 'origin' ({lab.drive}) has is here\n"
    assert lab.ada.release("cart-pole").is_union
    assert lab.ada.release("cart-pole").n_episodes == 6


def test_sync_tells_what_was_pulled_and_what_was_pushed(tupli: Tupli, lab: Lab, tmp_path: Path):
    tupli("push")
    tupli("clone", lab.drive, tmp_path / "ben")
    lab.ada.publish(lab.benchmark, episodes=True)
    dry = tupli("sync", "--dry-run").out
    assert dry.startswith("nothing to pull: all that 'origin'")
    assert "would push to 'origin'" in dry
    done = tupli("sync")
    assert done.status == 0, done.err
    assert len(done.out.splitlines()) == 2
    reports = tupli("-C", tmp_path / "ben", "sync", "--json").json
    assert [report["verb"] for report in reports] == ["pull", "push"]
    assert reports[0]["n_episodes"] == 1
    assert len(FileStorage(tmp_path / "ben").episode_headers()) == 4


def test_a_name_that_has_diverged_is_exit_3_with_the_next_thing_to_type(
    tupli: Tupli, lab: Lab, tmp_path: Path
):
    tupli("push")
    tupli("clone", lab.drive, tmp_path / "ben")
    for who, length in ((lab.ada, 0.6), (FileStorage(tmp_path / "ben"), 0.7)):
        who.publish(record(who, range(1), length=length), episodes=True)
    FileStorage(tmp_path / "ben").push()
    done = tupli("pull")
    assert done.status == 3
    assert "warning: 'global/benchmark/cart-pole' has diverged: both ways are kept\n" in done.err
    assert "hint: 'tupli log global/benchmark/cart-pole'" in done.err
    found = tupli("push", "--json")
    assert found.status == 3
    assert found.json["diverged"] == ["global/benchmark/cart-pole"]
    next_one = lab.ada.list_benchmarks(FilterEQ(key="metadata.version", value="0.6"))[0].id
    assert tupli("publish", next_one, "--as-next").status == 0
    assert tupli("push").status == 0


def test_a_name_that_is_not_whole_is_exit_3_with_the_next_thing_to_type(
    tupli: Tupli, lab: Lab, tmp_path: Path
):
    lab.ada.close()
    tupli("push")
    for pack in (lab.drive / ".tupli" / "packs").iterdir():
        pack.unlink()
    done = tupli("clone", lab.drive, tmp_path / "ben")
    assert done.status == 3
    assert (
        f"warning: 'global/benchmark/cart-pole' did not come whole: '{lab.drive}' has" in done.err
    )
    assert "hint: whoever has the rest pushes it, then 'tupli clone' again" in done.err
    assert FileStorage(tmp_path / "ben").names() == []
    for pack in (lab.ada.root / "packs").iterdir():
        pack.unlink()
    done = tupli("push")
    assert done.status == 3
    assert "warning: 'global/benchmark/cart-pole' is not whole there" in done.err
    assert "hint: 'tupli pull FOLDER' from where the rest is" in done.err
    assert tupli("push", "--json").json["is_clean"] is False


def test_a_damaged_file_on_the_drive_is_exit_3_and_the_rest_arrives(
    tupli: Tupli, lab: Lab, tmp_path: Path
):
    artifact = lab.ada.store_artifact(b"wind\n", ArtifactMetadata(name="wind"))
    lab.ada.publish(artifact.id)
    tupli("push")
    (record_file,) = (lab.drive / ".tupli" / "refs" / "global" / "artifact" / "wind").iterdir()
    record_file.chmod(0o644)
    record_file.write_bytes(b"{}")
    done = tupli("clone", lab.drive, tmp_path / "ben")
    assert done.status == 3
    assert str(record_file.relative_to(lab.drive)) in done.err
    assert "hint: 'tupli clone' again once the file is mended" in done.err
    assert [item.name for item in FileStorage(tmp_path / "ben").names()] == ["cart-pole"]


def test_a_terminal_sees_a_bar_and_the_result_stays_alone_on_stdout(lab: Lab):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "tupli_repo", "push"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            seen += chunk
    except OSError:  # the terminal was closed on the other side
        pass
    os.close(ours)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert seen.index(b"3 episodes") < seen.index(b" objects")
    assert b"\x1b[" in seen


# ---- bundle


def test_a_bundle_is_a_file_to_clone_from(tupli: Tupli, lab: Lab, tmp_path: Path):
    done = tupli("bundle", "cart-pole@1", tmp_path / "cart.zip")
    assert done.status == 0, done.err
    assert "global/cart-pole (benchmark): 1 revision, 1 episode\n" in done.err
    assert done.out.startswith(f"bundled into '{tmp_path / 'cart.zip'}': 1 name, 1 revision")
    digest = lab.ada.release("cart-pole@1").digest
    assert tupli("clone", tmp_path / "cart.zip", "--expect", digest).status == 0
    assert [header.seed for header in FileStorage("cart").episode_headers()] == [3]


def test_a_bundle_as_json_and_what_cannot_be_one(tupli: Tupli, lab: Lab, tmp_path: Path):
    done = tupli("bundle", "cart-pole@1", "cart-pole@2", "cart.zip", "--json")
    assert (done.status, done.err) == (0, "")
    assert (done.json["verb"], done.json["n_episodes"]) == ("bundle", 3)
    assert done.json["bytes_written"] == Path("cart.zip").stat().st_size
    done = tupli("bundle", "cart-pole", "cart.zip")
    assert (done.status, done.out) == (1, "")
    assert "already" in done.err
    assert tupli("bundle", "nonsense@1", "x.zip").status == 1
    assert tupli("bundle", "cart-pole").status == 2
    assert not Path("x.zip").exists()


def test_a_dry_run_of_bundle_and_clone_makes_nothing(tupli: Tupli, lab: Lab, tmp_path: Path):
    done = tupli("bundle", "cart-pole", "cart.zip", "--dry-run")
    assert (done.status, Path("cart.zip").exists()) == (0, False)
    assert done.out.startswith("would bundle into ")
    assert tupli("bundle", "cart-pole", "cart.zip").status == 0
    done = tupli("clone", "cart.zip", "-n")
    assert (done.status, Path("cart").exists()) == (0, False)
    assert done.out.startswith("would clone from ")
    done = tupli("clone", "cart.zip", "-n", "--json")
    assert (done.json["verb"], done.json["dry_run"], done.json["n_episodes"]) == ("clone", True, 3)
    assert tupli("clone", "cart.zip", "-n", "--expect", "0" * 64).status == 12


# ---- status


def test_status_tells_what_is_not_published_not_pushed_not_pulled(
    tupli: Tupli, lab: Lab, tmp_path: Path
):
    done = tupli("status")
    assert done.status == 0, done.err
    assert "  1 episode not published; 'tupli publish' does it\n" in done.out
    assert "origin: it lacks revisions of global/benchmark/cart-pole" in done.out
    assert "'tupli push origin'" in done.out
    tupli("push")
    assert "origin: the same revisions as here" in tupli("status").out
    tupli("clone", lab.drive, tmp_path / "ben")
    lab.ada.publish(lab.benchmark, episodes=True)
    tupli("push")
    told = tupli("-C", tmp_path / "ben", "status").out
    assert "it has revisions of global/benchmark/cart-pole that are not here" in told
    assert "'tupli pull origin'" in told
    found = tupli("-C", tmp_path / "ben", "status", "--json").json
    assert found["unpublished_episodes"] == 0
    assert found["remotes"][0]["unpulled"] == ["global/benchmark/cart-pole"]


def test_status_tells_of_a_remote_that_cannot_be_asked(tupli: Tupli, lab: Lab):
    shutil.rmtree(lab.drive)
    done = tupli("status")
    assert done.status == 0
    assert f"origin: cannot be asked: there is no repository in '{lab.drive}'" in done.out
    assert tupli("status", "--json").json["remotes"][0]["error"]
