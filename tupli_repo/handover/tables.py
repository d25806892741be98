"""Steps as tables with a row each: Arrow's and pandas'.

Invariant: ``episode`` and ``step`` tell of each row where it comes from.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tupli_repo.errors import InvalidInputError
from tupli_repo.handover.steps import StepSource
from tupli_repo.optional import require


def arrow_table(source: StepSource, ids: Sequence[str]) -> Any:
    """Return a ``pyarrow.Table``; see `TupliDataset.to_arrow`.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidInputError: Arrow has nothing for a dtype.
    """
    pyarrow = require("pyarrow", needed_for="to_arrow")
    episodes, places = source.origin()
    named = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(episodes.astype(np.int32)), pyarrow.array(list(ids), pyarrow.string())
    )
    columns = {"episode": named, "step": pyarrow.array(places)}
    for name, column in source.read(np.arange(len(source))).items():
        native = column.astype(column.dtype.newbyteorder("="), copy=False)
        try:
            found = pyarrow.array(native.reshape(-1))
        except pyarrow.ArrowNotImplementedError:
            raise InvalidInputError(
                f"'{name}' has dtype {column.dtype}, which Arrow does not have",
                hint="name the columns you want: only=['observations', 'actions']",
            ) from None
        if 0 in column.shape[1:]:
            raise InvalidInputError(
                f"'{name}' are arrays of no numbers, of which Arrow has no lists",
                hint="name the columns you want: only=['actions', 'rewards']",
            )
        for size in reversed(column.shape[1:]):
            found = pyarrow.FixedSizeListArray.from_arrays(found, size)
        columns[name] = found
    return pyarrow.table(columns)


def data_frame(source: StepSource, ids: Sequence[str]) -> Any:
    """Return a ``pandas.DataFrame``; see `TupliDataset.to_dataframe`.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    pandas = require("pandas", needed_for="to_dataframe")
    episodes, places = source.origin()
    columns: dict[str, Any] = {
        "episode": pandas.Categorical.from_codes(episodes, categories=list(ids)),
        "step": places,
    }
    for name, column in source.read(np.arange(len(source))).items():
        is_plain = column.ndim == 1
        columns[name] = column if is_plain else pandas.Series(list(column), dtype=object)
    return pandas.DataFrame(columns)
