"""``tupli export NAME lerobot PATH`` as a user sees it."""

from pathlib import Path

import pytest

from tests.cli.calling import Tupli
from tests.handover.episodes import record
from tupli_repo import FileStorage

pytest.importorskip("pyarrow")

from tests.interop.lerobot_files import document, frames


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStorage:
    """A project with a benchmark 'walk', as the working folder."""
    storage = FileStorage(tmp_path / "project")
    record(storage)
    monkeypatch.chdir(tmp_path / "project")
    return storage


def test_a_benchmark_goes_out_for_lerobot(tupli: Tupli, project: FileStorage):
    done = tupli("export", "walk", "lerobot", "out", "--fps", "20", "--task", "walk on")
    assert (done.status, done.err) == (0, "")
    assert done.out == "exported 6 episodes, 148 steps to 'out'\n"
    assert document(Path("out"), "info.json")["fps"] == 20
    assert len(frames(Path("out"))) == 148


def test_the_document_tells_what_was_written(tupli: Tupli, project: FileStorage):
    some = ["--where", "n_tuples = 1"]
    report = tupli("export", "walk", "lerobot", "out", "--fps", "20", *some, "--json").json
    assert report == {
        "format": "lerobot", "path": "out", "n_episodes": 2, "n_steps": 2, "left_out": [],
    }  # fmt: skip


def test_what_goes_wrong_is_told_in_one_line(tupli: Tupli, project: FileStorage):
    faults = [
        (["lerobot", "out"], "how many steps there are in a second is not known"),
        (["lerobot", "out", "--fps", "0"], "0 is not in the range"),
        (["d4rl", "out", "--fps", "20"], "'--fps' does not go with 'd4rl'"),
        (["minari", "out", "--task", "x"], "'--task' does not go with 'minari'"),
        (["lerobot", ".", "--fps", "20"], "already"),
        (["lerobot", "out", "--fps", "20", "--where", "n_tuples = 3"], "no episodes"),
    ]
    for arguments, message in faults:
        done = tupli("export", "walk", *arguments)
        assert (done.status, message in done.err) == (2, True), done
        assert len(done.err.splitlines()) <= 2
    assert not Path("out").exists()
