"""The object database: bytes, ids, files. It knows nothing about reinforcement learning.

From the ground up:

- `files`: the only door to the disk; `modes`: who may write; `failures`: what refusals become;
  `trash`: where superseded files go; `frames`: zstd frames with their sizes checked.
- `objects`: kind + links + body, named by SHA-256.
- `block`: whole objects compressed together; `block_file`: reading them; `ahead`: in threads.
- `pack`: sealed files of blocks; `journal`: one writer's unsealed pack.
- `pack_ids`: the ids of a pack, kept to be looked into; `holdings`: in which files sets lie.
- `gathered`: what waits to be written; `writer`: the journals of this process.
- `trashed`: reading what was moved away meanwhile; `present`: which objects are here; `store`:
  everything behind write and read.
- `refs`: small records that name an object as the next revision of a name.
- `transport`: what one repository asks of another; `bundle`: a repository in one file.
- `remote_files`, `remote`: what is on the other side, and reading it; `closure`: what that needs;
  `sync`: copying what is wanted and missing; `drop`: removing there what was taken back.
- `maintenance`: what is reachable, what may go, what is damaged, what a drive can do.

Two orders hold everywhere. Writing: staging, fsync, rename, fsync of the folder; objects that
others link come first. Removing: the other way round. Readers list parents first, then look for
children.
"""
