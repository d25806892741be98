"""A drive, and Ada who publishes to it."""

from pathlib import Path

import pytest

from tests.repository.people import benchmark, drive, person, record
from tupli_repo.repository import Repository


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A bare repository."""
    return drive(tmp_path / "drive")


@pytest.fixture
def ada(tmp_path: Path, hub: Path) -> Repository:
    """Has published a benchmark with three episodes."""
    found = person(tmp_path / "ada", hub)
    record(found, benchmark(found), 3)
    found.publish("walk", episodes=True)
    return found
