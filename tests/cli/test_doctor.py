"""`tupli doctor` as a user sees it."""

import json
from pathlib import Path

import pytest

from tupli_repo.cli import run
from tupli_repo.repository.location import create


def test_it_prints_a_line_for_each_probe_and_a_verdict(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", str(tmp_path)]) == 0
    *lines, verdict = capfd.readouterr().out.splitlines()
    assert len(lines) >= 14
    assert {line.split()[0] for line in lines} == {"ok"}
    assert verdict == f"a repository has all it needs in '{tmp_path}'"


def test_it_looks_at_the_repository_here(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = create(tmp_path, role="bare", shared=True)
    (root / "packs").chmod(0o755)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert run(["doctor"]) == 3
    out = capfd.readouterr().out
    assert "degraded  modes here" in out
    assert out.splitlines()[-1] == f"the repository works in '{tmp_path}', with less: modes here"
    assert run(["-C", str(tmp_path), "doctor", "--json"]) == 3
    document = json.loads(capfd.readouterr().out)
    assert document["state"] == "degraded"
    assert document["is_repository"] is True
    assert {item["name"]: item["state"] for item in document["probes"]}["modes here"] == "degraded"


def test_without_a_repository_or_a_folder_it_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 10
    assert "there is no repository" in capfd.readouterr().err
    assert run(["doctor", "nowhere"]) == 2
    assert "there is no folder" in capfd.readouterr().err
