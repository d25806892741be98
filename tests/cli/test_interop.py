"""``tupli import`` and ``tupli export`` as a user sees them."""

from pathlib import Path

import pytest

from tests.cli.calling import Tupli
from tests.handover.episodes import ENDINGS, record
from tests.interop.d4rl_files import assert_same_arrays, flat_file, read
from tupli_repo import FileStorage

pytest.importorskip("h5py")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStorage:
    """An empty project, as the working folder, beside a D4RL file."""
    storage = FileStorage(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return storage


def test_a_file_comes_in_and_goes_out(tupli: Tupli, project: FileStorage, tmp_path: Path):
    arrays = flat_file(tmp_path / "hopper.hdf5", with_next=True)
    done = tupli("import", "d4rl", tmp_path / "hopper.hdf5", "--name", "hops")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("imported 4 episodes, 12 steps (4 new) of benchmark '")
    done = tupli("export", "hops", "d4rl", "out.hdf5")
    assert (done.status, done.out) == (0, "exported 4 episodes, 12 steps to 'out.hdf5'\n")
    assert_same_arrays(read(Path("out.hdf5")), arrays)
    assert tupli("export", "hops", "d4rl", "one.hdf5", "--where", "n_tuples = 2").status == 0
    assert len(read(Path("one.hdf5"))["rewards"]) == 2


def test_what_is_left_out_is_told_and_is_in_the_document(
    tupli: Tupli, project: FileStorage, tmp_path: Path
):
    flat_file(tmp_path / "a.hdf5", with_next=False)
    report = tupli("import", "d4rl", tmp_path / "a.hdf5", "--json").json
    assert (report["n_new"], report["left_out"]) == (4, [])
    again = tupli("import", "d4rl", tmp_path / "a.hdf5", "--benchmark", report["benchmarks"][0])
    assert again.err == (
        "warning: left out: the file's metadata, as the episodes are of a benchmark of yours\n"
    )
    written = tupli("export", "a", "d4rl", "b.hdf5", "--json").json
    assert (written["format"], written["n_steps"]) == ("d4rl", 12)
    assert written["left_out"] == ["next_observations, as 4 episodes lack their last observation"]


def test_a_dataset_of_minaris_goes_out_and_comes_in(
    tupli: Tupli, project: FileStorage, tmp_path: Path
):
    pytest.importorskip("pyarrow")
    record(project, ENDINGS[:3])
    done = tupli("export", "walk", "minari", "out", "--data-format", "arrow", "--json")
    assert (done.status, done.json["n_steps"]) == (0, 10)
    assert (Path("out") / "data" / "0" / "part-0.arrow").is_file()
    done = tupli("export", "walk", "minari", "lab", "--dataset", "lab/walk-v0")
    assert done.out == "exported 3 episodes, 10 steps to 'lab'\n"
    for folder, name in (("out", "out"), ("lab", "lab/walk-v0")):
        report = tupli("import", "minari", folder, "--json").json
        assert (report["n_episodes"], report["n_new"]) == (3, 3)
        (oid,) = report["benchmarks"]
        assert project.benchmark(oid).metadata.name == name


def test_what_goes_wrong_is_told_in_one_line(tupli: Tupli, project: FileStorage, tmp_path: Path):
    flat_file(tmp_path / "a.hdf5", with_next=False)
    faults: list[tuple[list[object], int, str]] = [
        (["import", "d4rl", "nowhere"], 1, "there is nothing at 'nowhere'"),
        (["import", "d4rl", tmp_path / "a.hdf5", "--shift"], 2, "'--shift' does not go with"),
        (["import", "tapes", "x"], 2, "tapes"),
        (["import", "minari", tmp_path], 1, "nothing at"),
        (["import", "pytupli", tmp_path], 1, "no folder 'benchmarks'"),
        (["export", "none", "d4rl", "x", "--data-format", "arrow"], 2, "'--data-format' does not"),
        (["export", "none", "d4rl", "x"], 1, "nothing here is called 'none'"),
    ]
    for arguments, status, message in faults:
        done = tupli(*arguments)
        assert done.status == status, done
        assert message in done.err
        assert len(done.err.splitlines()) <= 2
    tupli("import", "d4rl", tmp_path / "a.hdf5")
    done = tupli("export", "a", "minari", "x")
    assert (done.status, "spaces of the episodes are not known" in done.err) == (2, True)
    done = tupli("export", "a", "d4rl", tmp_path / "a.hdf5")
    assert (done.status, "already" in done.err) == (2, True)


def test_a_benchmark_is_told_by_its_name_and_an_empty_one_is_refused(
    tupli: Tupli, project: FileStorage, tmp_path: Path
):
    flat_file(tmp_path / "a.hdf5", with_next=True)
    first = tupli("import", "d4rl", tmp_path / "a.hdf5", "--name", "lab/a-v0", "--json").json
    again = tupli("import", "d4rl", tmp_path / "a.hdf5", "--benchmark", "lab/a-v0", "--json").json
    assert (again["n_new"], again["benchmarks"]) == (0, first["benchmarks"])
    done = tupli("import", "d4rl", tmp_path / "a.hdf5", "--name", "")
    assert (done.status, done.err.partition("\n")[0]) == (2, "error: a benchmark needs a name")
    assert len(project.list_benchmarks()) == 1


def test_a_link_that_leads_nowhere_is_something(tupli: Tupli, project: FileStorage, tmp_path: Path):
    flat_file(tmp_path / "a.hdf5", with_next=True)
    tupli("import", "d4rl", tmp_path / "a.hdf5")
    Path("out.hdf5").symlink_to("nowhere")
    done = tupli("export", "a", "d4rl", "out.hdf5")
    assert (done.status, done.err.partition("\n")[0]) == (
        2, "error: there is something at 'out.hdf5' already",
    )  # fmt: skip
    assert Path("out.hdf5").is_symlink()
