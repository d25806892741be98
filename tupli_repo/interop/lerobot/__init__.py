"""LeRobot's datasets, v3.0, by their files alone.

- `writing`: datasets out.
- `plan`: which columns there are, and what has no place. `tables`: the tables as they grow.
- `layout`: how they lie in files. `stats`: what is told of each column.

Invariant: LeRobot reads in each frame what was recorded in one step, and in no frame of two.
"""
