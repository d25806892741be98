"""``tupli export NAME parquet`` and ``tupli import parquet`` as a user sees them."""

from pathlib import Path

import pytest

from tests.cli.calling import Tupli
from tests.handover.episodes import Ending, record
from tupli_repo import FileStorage

pytest.importorskip("pyarrow")


def test_episodes_go_out_and_come_in(tupli: Tupli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with FileStorage(tmp_path / "project") as storage:
        record(storage, [Ending(3, terminated=True), Ending(2, terminated=False)])
    monkeypatch.chdir(tmp_path / "project")
    done = tupli("export", "walk", "parquet", tmp_path / "out")
    assert (done.status, done.err) == (0, "")
    assert done.out == f"exported 2 episodes, 5 steps to '{tmp_path / 'out'}'\n"
    assert tupli("export", "walk", "parquet", tmp_path / "out").status == 2
    report = tupli("import", "parquet", tmp_path / "out", "--name", "again", "--json").json
    assert (report["format"], report["n_new"], report["left_out"]) == ("parquet", 2, [])
    done = tupli("import", "parquet", tmp_path / "out", "--name", "again")
    assert done.out.startswith("imported 2 episodes, 5 steps (0 new) of benchmark '")
    (tmp_path / "out" / "part-00000.parquet").write_bytes(b"PAR1 not PAR1")
    done = tupli("import", "parquet", tmp_path / "out")
    assert (done.status, "no Parquet file, or damaged" in done.err) == (12, True)
    assert len(done.err.splitlines()) <= 2
