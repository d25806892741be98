"""The catalog: a derived listing of the episodes in sealed packs, so that nobody has to read them.

It also knows the members of what is published, so that a listing tells where an episode is.

It lives outside the repository, in the user's cache, and may vanish or be damaged at any moment:
it is made anew from the packs, and where SQLite cannot work it lives in memory.

- `query`: a filter as SQL that may find too much, never too little.
- `rows`: what is kept of an episode.
- `database`: the SQLite file, checked before it is believed.
"""

from tupli_repo.catalog.database import Catalog, Groups, catalog_path
from tupli_repo.catalog.rows import EpisodeRow

__all__ = ["Catalog", "EpisodeRow", "Groups", "catalog_path"]
