"""Parquet files with RLlib's column names, by pyarrow alone.

- `reading` and `writing`: files in and out. `steps`: rows as the steps of an episode.
- `layout`: what lies where. `values`: samples as Arrow's arrays, and back.

Invariant: an episode that went out comes in again as it was, under the id it had.
"""
