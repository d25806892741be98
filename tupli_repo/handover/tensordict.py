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


def tensordict_of(source: StepSource) -> Any:
    """Return the steps of whole episodes; see `TupliDataset.to_tensordict`.

    Raises:
        MissingDependencyError: tensordict is not installed.
        InvalidInputError: There are no tensors of a dtype.
    """
    tensordict = require("tensordict", needed_for="to_tensordict")
    found = source.read(np.arange(len(source)))
    numbers = np.searchsorted(np.cumsum(source.lengths), source.numbers(), side="right")
    if not found:
        return tensordict.TensorDict({}, batch_size=[0])
    is_last = np.append(numbers[1:] != numbers[:-1], True)[: len(numbers)]
    flags = {"terminated": found.pop("terminated"), "truncated": found.pop("truncated")}
    flags["done"] = flags["terminated"] | flags["truncated"] | is_last
    rows: dict[tuple[str, ...], NDArray[Any]] = {("episode",): numbers}
    for name, flag in flags.items():
        rows[name,] = np.zeros((len(numbers), 1), bool)
        rows["next", name] = flag[:, None]
    rows["next", "reward"] = found.pop("rewards").reshape(len(numbers), -1)
    for name, column in found.items():
        parent, *path = name.split("/")
        keys = ("next", "observation") if parent == NEXT else (parent.removesuffix("s"),)
        rows[*keys, *map(unescape, path)] = column
    made = tensordict.TensorDict({}, batch_size=[len(numbers)])
    for key, column in rows.items():
        made.set(key, tensors_of({"/".join(key): column})["/".join(key)])
    return made
