"""Steps as a ``TensorDict`` in the layout of TorchRL's own offline datasets.

Invariant: what is under ``next`` in a row is of the same step, and its observation of the same
episode.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.samples import unescape
from tupli_repo.handover.steps import NEXT, StepSource
from tupli_repo.handover.torch import tensors_of
from tupli_repo.optional import require
from tupli_repo.runs import with_cuts


def tensordict_of(source: StepSource) -> Any:
    """Return the steps; see `TupliDataset.to_tensordict`.

    Raises:
        MissingDependencyError: tensordict is not installed.
        InvalidInputError: There are no tensors of a dtype.
    """
    tensordict = require("tensordict", needed_for="to_tensordict")
    found = source.read(np.arange(len(source)))
    if not found:
        return tensordict.TensorDict({}, batch_size=[0])
    n = len(source)
    terminated = found.pop("terminated")
    truncated = with_cuts(found.pop("truncated"), terminated, source.are_last())
    done = terminated | truncated
    flags = {"terminated": terminated, "truncated": truncated, "done": done}
    rows: dict[tuple[str, ...], NDArray[Any]] = {("episode",): np.cumsum(done) - done}
    for name, flag in flags.items():
        rows[name,] = np.zeros((n, 1), bool)
        rows["next", name] = flag[:, None]
    rewards = found.pop("rewards")
    rows["next", "reward"] = rewards[:, None] if rewards.ndim == 1 else rewards
    for name, column in found.items():
        parent, *path = name.split("/")
        keys = ("next", "observation") if parent == NEXT else (parent.removesuffix("s"),)
        rows[*keys, *map(unescape, path)] = column
    made = tensordict.TensorDict({}, batch_size=[n])
    for key, column in rows.items():
        made.set(key, tensors_of({"/".join(key): column})["/".join(key)])
    return made
