"""The catalog: a derived listing of the episodes in packs, so that nobody has to read them.

It also knows the members of what is published, so that a listing tells where an episode is.

It lives outside the repository, in the user's cache, and may vanish or be damaged at any moment:
it is made anew from the packs, and where no file can be written it lives in memory.

- `rows`: what is kept of an episode. `parts`: what it consists of.
- `columns`: the values under one path, compared all at once.
- `segment`: the rows of a pack in one file. `members`: which episodes are in a set.
- `labels`: what was said of episodes since they were recorded.
- `query`: a filter over a segment. `found`: what it finds, in order, page by page.
- `catalog`: the files, made when they are missed. `verified`: what need not be hashed again.
- `notes`: in which packs sets were found.
"""

from tupli_repo.catalog.catalog import Catalog, Groups, OnProgress, catalog_path, remove_catalog
from tupli_repo.catalog.found import Found, Selection, Tally, Wanted
from tupli_repo.catalog.labels import Labels
from tupli_repo.catalog.notes import SetNotes
from tupli_repo.catalog.rows import EpisodeRow, Parts
from tupli_repo.catalog.verified import VerifiedBlocks

__all__ = [
    "Catalog",
    "EpisodeRow",
    "Found",
    "Groups",
    "Labels",
    "OnProgress",
    "Parts",
    "Selection",
    "SetNotes",
    "Tally",
    "VerifiedBlocks",
    "Wanted",
    "catalog_path",
    "remove_catalog",
]
