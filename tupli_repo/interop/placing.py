"""Writing other projects' files: see `tupli_repo.placing`.

Invariant: there is one way to write them.
"""

from tupli_repo.placing import placed

__all__ = ["placed"]
