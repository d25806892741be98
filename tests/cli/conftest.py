"""The command line, for a user without settings."""

from pathlib import Path

import pytest

from tests.cli.calling import Outcome, Tupli
from tupli_repo.cli import run


@pytest.fixture(autouse=True)
def settings_of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's settings are in a folder of this test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


@pytest.fixture
def tupli(capfd: pytest.CaptureFixture[str]) -> Tupli:
    """Run a command; returns how it ended."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        return Outcome(status, *capfd.readouterr())

    return call
