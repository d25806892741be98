"""Values of reinforcement learning as bytes, and back. It knows nothing about files.

From the ground up:

- `values`: canonical JSON. `spaces`: a space as JSON. `arrays`: many values as one array.
  `columns`: columns as blobs. `trust`: which names an environment may bring to life.
- `samples`: samples of a space as named columns.
- `infos`: info dictionaries as columns. `records`: the bodies of benchmarks, artifacts, provenance
  and tombstones.
- `episode`: an episode as record, layout and data. `episode_record`: the record. `buffer`: an
  episode in the making. `env`: an environment as canonical text.
- `tuples`: episodes as PyTupli's tuples.
"""
