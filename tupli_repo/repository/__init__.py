"""The repository: the facade where bytes and reinforcement learning meet.

`Repository` joins `tupli_repo.odb` and `tupli_repo.codec`; every verb is a few lines.

- `location`: where a repository is, and how one comes to be.
- `records`: benchmarks, artifacts, provenance and tombstones, parsed once.
- `loading`: many episodes decoded into arrays; `listing`: which episodes there are; `episodes`:
  episodes between store and codec.
- `keeping`: datasets that were loaded before, mapped from the user's cache.
- `benchmarks`: environments between store and codec. `artifacts`: files as pieces.
- `published`: names, their revisions, and how a name gets its next one.
- `sharing`: pushes, pulls, remotes, and what is let in.
- `health`: whether all is whole, and making it so.
- `shelf`: which records are visible. `subjects`: what is to be published.
- `upkeep`: the repository as a whole.
- The verbs, floor upon floor: `opening` (opening, durability, trust), `citing` (names and
  revisions), `naming` (publishing), `exchange` (push and pull), `cloning` (clones and bundles),
  `cleaning` (gc), `checking` (fsck and repair), `selecting`, `annotating` (labels), `filing`
  (artifacts), `facade` (the rest: `Repository`).
"""

from tupli_repo.repository.facade import Repository
from tupli_repo.repository.location import find

__all__ = ["Repository", "find"]
