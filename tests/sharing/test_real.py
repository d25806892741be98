"""Real repositories, and what goes over a real drive, are what the model of sharing says.

``pytest -m torture tests/sharing/test_real.py --hypothesis-seed=N`` runs ten thousand histories and
two thousand long ones, about two hours; with another N other ones.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.sharing.real import RealMachine

MEMORY = Path("/dev/shm")
QUICK = settings(
    max_examples=500,
    stateful_step_count=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a history is short as it is, and shrinking one takes long
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
MANY = settings(QUICK, max_examples=10_000, stateful_step_count=6, derandomize=False)
LONG = settings(MANY, max_examples=2_000, stateful_step_count=20)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that is fast, where there is one."""
    if os.access(MEMORY, os.W_OK):
        with TemporaryDirectory(dir=MEMORY) as fast:
            yield Path(fast)
    else:
        yield tmp_path


def run(folder: Path, how: settings) -> None:
    run_state_machine_as_test(type("Machine", (RealMachine,), {"folder": folder}), settings=how)


def test_real_repositories_share_as_the_model_says(folder: Path) -> None:
    run(folder, QUICK)


@pytest.mark.torture
@pytest.mark.parametrize("how", [MANY, LONG], ids=["many", "long"])
def test_real_repositories_share_as_the_model_says_in_other_histories(
    folder: Path, how: settings
) -> None:
    run(folder, how)
