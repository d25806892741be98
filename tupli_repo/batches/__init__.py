"""The steps of several sub-environments as they come, in batches; cut into episodes at their ends.

A batch is copied once, however many sub-environments it is of. *Row* r holds what one call of
``reset`` or ``step`` brought: the observations, and the actions, rewards and infos that led there.
An episode of sub-environment i that began in row b and ended in row e has the observations of rows
b to e, and the actions, rewards and infos of rows b+1 to e.

- `columns`: batches of a space's samples, row by row.
- `infos`: batched infos: taken apart at once, or kept in columns.
- `buffer`: all that was seen since the oldest episode that goes on.
"""

from tupli_repo.batches.buffer import BatchBuffer, Transitions
from tupli_repo.batches.infos import InfoBatch

__all__ = ["BatchBuffer", "InfoBatch", "Transitions"]
