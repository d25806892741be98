"""The repository: the facade where bytes and reinforcement learning meet.

`Repository` joins `tupli_repo.odb` and `tupli_repo.codec`; every verb is a few lines.

- `location`: where a repository is, and how one comes to be.
- `records`: benchmarks, artifacts, provenance and tombstones, parsed once.
- `loading`: many episodes decoded into arrays; `episodes`: episodes between store and codec.
- `benchmarks`: environments between store and codec. `artifacts`: files as pieces.
- `history`: the heads of a name and what they hold together; `releases`: what is published.
- `revisions`: what people write for a revision; `publishing`: how a name gets its next one.
- `shelf`: which records are visible. `subjects`: what is to be published.
- `upkeep`: the repository as a whole. `opening`: opening, durability. `naming`: what is published.
- `joined`: two repositories put together in memory; `transfers`: pushes and pulls, planned and run;
  `incoming`: what is let in.
- `remotes`: who one exchanges with; `exchange`: the verbs; `cloning`: clones and bundles.
- `facade`: `Repository`.
"""

from tupli_repo.repository.facade import Repository
from tupli_repo.repository.location import find

__all__ = ["Repository", "find"]
