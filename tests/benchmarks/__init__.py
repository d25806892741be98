"""How fast and how small, side by side with what a user would pick instead.

    python -m tests.benchmarks --scale 0.1 --repeat 3 --json results.json --plot growth.png

Every measurement is a process of its own; contenders take turns; what they give back is compared
with the source bit by bit, outside the timing. Only ratios within one run mean anything. Peers that
are not installed (extra ``bench``) are told and left out.

- `episodes`: episodes as arrays, in a folder. `workloads`: which ones, and how they are made.
- `playback`: environments that give them, one step after the other.
- `contender`: what is asked of a contender. `contenders`: ours and the peers, one module each.
- `measuring`: one measurement, in a process of its own. `growth`: ours with ever more episodes.
- `running`: all measurements in turn. `targets`: what is to be reached. `reporting`: the tables.
"""
