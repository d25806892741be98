"""Minari's datasets, by their files alone: Minari itself asks for versions of other packages.

- `layout`: what its storages share. `hdf5` and `arrow`: the storages, in and out.
- `about`: what is told of a dataset, and the specification of its environment.
- `reading` and `writing`: datasets in and out.

Invariant: Minari reads of what was written what Minari wrote of it before, or what was recorded.
"""
