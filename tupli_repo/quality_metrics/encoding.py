"""What the user's own torch functions make of arrays: encoders, preprocessors, policies.

Invariant: a module of the user's is never changed: a copy of it runs, on the device asked for and
as in evaluation (no dropout, no statistics of the batch).
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.optional import require

BLOCK_ROWS = 4096


def ready(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """Return a torch module's copy on a device, ready to evaluate; any other function as it is.

    Raises:
        MissingDependencyError: torch is not installed.
    """
    torch = require("torch", needed_for="an encoder")
    if not isinstance(function, torch.nn.Module):
        return function
    found: Callable[..., Any] = deepcopy(function).to(device).eval()
    return found


def encoded(
    function: Callable[..., Any], values: NDArray[Any], *, device: str = "cpu"
) -> NDArray[Any]:
    """Return what a function makes of a float32 tensor of all rows, as an array.

    A torch module gets them in blocks; another function, which may look at all of them, at once.

    Args:
        function: From a tensor of N rows to a tensor or array of N rows.
        values: Shape (N, ...).
        device: Where the tensor is to be.

    Raises:
        MissingDependencyError: torch is not installed.
    """
    torch = require("torch", needed_for="an encoder")
    is_module = isinstance(function, torch.nn.Module)
    function = ready(function, device)
    n_rows = BLOCK_ROWS if is_module else max(1, len(values))
    made = []
    with torch.no_grad():
        for start in range(0, len(values), n_rows):
            block = np.asarray(values[start : start + n_rows], dtype=np.float32)
            result = function(torch.tensor(block, device=device))
            made.append(result.cpu().numpy() if torch.is_tensor(result) else np.asarray(result))
    return np.concatenate(made)
