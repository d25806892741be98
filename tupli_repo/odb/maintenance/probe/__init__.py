"""What the file system under a folder can do, found by trying it, and what follows.

Everything is tried in a private folder, in the repository's `staging/` where there is one. What
others made is looked at and never changed.

- `doctor`: the entry, which tries everything in order. `ground`: the private folder.
- `files`, `names`: what files and their names can be. `surroundings`: room, users, clock, locks.
"""

from tupli_repo.odb.maintenance.probe.doctor import probe

__all__ = ["probe"]
