"""Checking that everything is what it should be, and mending what can be mended.

Invariant: a check changes nothing; a repair deletes nothing and alters no content.
"""

from tupli_repo.repository.cleaning import CleaningRepository


class CheckingRepository(CleaningRepository):
    """A repository that can be checked and repaired."""
