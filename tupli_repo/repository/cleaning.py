"""Removing what nothing leads to any more, and merging small packs.

Invariant: what a listing shows, what a name leads to and what is younger than the grace stays.
"""

from tupli_repo.repository.cloning import CloningRepository


class CleaningRepository(CloningRepository):
    """A repository that can be cleaned."""
