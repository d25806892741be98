"""tupli cache: what it prints, its JSON, its refusals."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.calling import Tupli
from tests.faults import HastyFileSystem
from tupli_repo.materialised import DatasetCache, datasets_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two datasets; no repository is anywhere near."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    cache = DatasetCache(datasets_folder(), max_bytes=1 << 20, min_bytes=0, fs=HastyFileSystem())
    for n in range(2):
        making = cache.begin(f"{n:064x}", 8000)
        assert making is not None
        array = making.make("rewards", (1000,), np.dtype("<f8"))
        array[:] = n
        making.settle(array, "rewards")
        assert cache.finish(making, title=f"walk{n}: \x1b[31m", notes={}, more=dict)
    return datasets_folder()


def test_it_lists_what_is_kept(tupli: Tupli, folder: Path):
    found = tupli("cache")
    assert found.status == 0
    assert [row[0] for row in found.table] == ["0" * 12] * 2
    assert {row[3] for row in found.table} == {"walk0: \\x1b[31m", "walk1: \\x1b[31m"}
    assert "2 datasets, 1" in found.err
    assert str(folder) in found.err
    document = tupli("cache", "--json").json
    assert {one["key"] for one in document["datasets"]} == {f"{n:064x}" for n in range(2)}
    assert document["size_bytes"] == sum(one["size_bytes"] for one in document["datasets"])
    assert document["is_enabled"]


def test_an_empty_cache_is_told(tupli: Tupli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    assert tupli("cache").table == []
    assert tupli("cache", "verify").out == "0 datasets, 0 B: all whole\n"
    assert tupli("cache", "clear").out == "0 datasets removed, 0 B\n"
    assert tupli("config", "--user", "cache.enabled", "false").status == 0
    assert "it is switched off" in tupli("cache").err


def test_verify_removes_what_is_wrong(tupli: Tupli, folder: Path):
    assert tupli("cache", "verify").out.startswith("2 datasets, 15.9 KiB: all whole")
    path = folder / f"{1:064x}" / "000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    found = tupli("cache", "verify")
    assert found.status == 3
    assert "removed: '000000000000': its file '000.npy' holds other bytes" in found.out
    assert "1 dataset wrong" in found.out
    assert tupli("cache", "verify", "--json").json == {
        "datasets": 1,
        "bytes_read": 8128,
        "removed": {},
    }


def test_clear_removes_what_is_old_or_all(tupli: Tupli, folder: Path):
    assert tupli("cache", "clear", "--older-than", 1).out == "0 datasets removed, 0 B\n"
    assert tupli("cache", "clear", "--json").json["datasets"] == 2
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("days", ["-1", "nan", "x"])
def test_what_is_no_number_of_days_is_a_usage_error(tupli: Tupli, folder: Path, days: str):
    found = tupli("cache", "clear", "--older-than", days)
    assert found.status == 2
    assert "Traceback" not in found.err
    assert len(list(folder.iterdir())) == 2
