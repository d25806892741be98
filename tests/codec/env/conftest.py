"""No test of the environment codec may leave code running that nobody granted."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest


def pytest_collection_finish() -> None:
    """Forget what looking for doctests set off: it touches every object of a module."""
    _trips().clear()


def _trips() -> list[str]:
    gadgets: Any = sys.modules.get("tests.codec.env.gadgets", SimpleNamespace(TRIPS=[]))
    trips: list[str] = gadgets.TRIPS
    return trips


@pytest.fixture(autouse=True)
def nothing_tripped() -> Iterator[None]:
    """No gadget's code ran; what was caught before the test is an earlier object's end."""
    assert _trips() == []
    yield
    tripped = list(_trips())
    _trips().clear()
    assert tripped == []
