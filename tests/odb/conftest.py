"""What most tests of two repositories begin with."""

from pathlib import Path

import pytest

from tests.odb.sides import new_side


@pytest.fixture
def a(tmp_path: Path) -> Path:
    """An empty repository."""
    new_side(tmp_path / "a").close()
    return tmp_path / "a"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    """Another."""
    new_side(tmp_path / "b").close()
    return tmp_path / "b"
