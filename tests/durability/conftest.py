"""Catalogs of repositories in memory are in memory, too: no lock is waited for, nothing is cached.

What is found is then what the repository's own files say, whatever was looked at before.
"""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_cache(own_home: object) -> Iterator[None]:
    """A cache folder that cannot be used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "/dev/null/none")
        yield
