"""Hand-over in memory: a dataset as the objects other libraries train from.

Each module knows one of them and imports it when it is asked for. They take what
`tupli_repo.TupliDataset` has at hand, whose methods ``to_...`` are the way in.

Invariant: row i of whatever is handed over is of one step: its observation, action, reward and
flags, and the observation that followed it in the same episode; no trajectory goes on across steps
that are left out.
"""
