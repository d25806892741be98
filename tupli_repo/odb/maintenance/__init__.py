"""Keeping a repository whole and small: what is reachable, what may go, what is damaged.

It takes stores and plain sets of ids, and knows nothing of what the objects mean.

- `gc`: what nothing leads to goes to the trash, and from there for good. `reach`: what is
  reachable; `ages`: how old files are; `staging`: private files nobody finishes; `lock`.
- `compact`: several packs become one.
- `check`: every file and every byte, and what it holds; `names`: whose each file is; `check_refs`:
  the records of names; `links`: what leads to what is missing.
- `salvage`: what is whole in a broken pack; `sources`: where what is lost may be found; `bench`:
  writing that, and setting aside what is damaged.
- `probe`: what a drive can do; `access`: what its users cannot reach.
"""
