"""Spoilt bytes, whatever they are, are an error of one class; they take neither time nor memory."""

import resource
import sys
import time
from functools import lru_cache

import pytest

from tests.fuzz.targets import Target, targets
from tupli_repo.errors import CorruptObjectError, RepositoryNotFoundError, UnsupportedFormatError

FEW = 150
MANY = 100_000
MOST_SECONDS = 5.0
"""Of the processor's time; a bomb takes more on any machine."""
MOST_MEGABYTES = 300
ALSO = {
    "format.json": (UnsupportedFormatError,),  # a newer version is said to have written it
    "bundle": (RepositoryNotFoundError,),  # a ZIP file without the files of a repository
    "bundle with another directory": (RepositoryNotFoundError,),
}


@lru_cache(maxsize=1)
def all_targets() -> dict[str, Target]:
    return targets()


NAMES = [
    "object", "episode set", "frame", "block", "block with right checksums",
    "pack directory and trailer", "pack directory with right checksums", "journal", "ref record",
    "yank", "format.json", "episode record", "layout", "episode as a whole", "columns", "values",
    "bundle", "bundle with another directory", "benchmark body", "artifact body",
    "provenance body", "tombstone body", "release body",
]  # fmt: skip


def most_megabytes() -> float:
    """The most memory this process has ever had."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def fuzz(name: str, n: int) -> tuple[int, int]:
    """Read spoilt inputs; returns how many were refused, and how many were taken."""
    target = all_targets()[name]
    for data in target.valid:
        target.read(data)
    expected = (CorruptObjectError, *ALSO.get(name, ()))
    before, refused = most_megabytes(), 0
    for number in range(n):
        seed = f"{name} {number}"
        data = target.spoil(seed, target.valid)
        told = ""
        began = time.thread_time()
        try:
            target.read(data)
        except expected as err:
            refused += 1
            told = str(err)
        except Exception as err:
            raise AssertionError(f"'{seed}' raised {type(err).__name__}: {err}") from err
        assert time.thread_time() - began < MOST_SECONDS, seed
        assert "\n" not in told, seed
    assert most_megabytes() - before < MOST_MEGABYTES
    return refused, n - refused


def test_every_decoder_has_its_name_here() -> None:
    assert sorted(NAMES) == sorted(all_targets())


@pytest.mark.parametrize("name", NAMES)
def test_spoilt_bytes_are_told_as_such(name: str) -> None:
    refused, _ = fuzz(name, FEW)
    assert refused > FEW // 4  # else they would hardly be spoilt


@pytest.mark.torture
@pytest.mark.parametrize("name", NAMES)
def test_many_spoilt_bytes_are_told_as_such(name: str) -> None:
    fuzz(name, MANY)
