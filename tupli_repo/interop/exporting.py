"""What every export shares: which episodes go out, and from where.

Invariant: a dataset whose steps are filtered does not go out as if they were not.
"""

from collections.abc import Callable

from tupli_repo.curation import CuratedEpisodes
from tupli_repo.errors import InvalidInputError
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeHeader

OnProgress = Callable[[int, int], None]
"""Called with how many episodes are done, and of how many."""

TELL_EVERY = 64
"""Episodes after which it is told how far an export has come."""


def outgoing(
    dataset: CuratedEpisodes, *, in_steps: bool = False
) -> tuple[Repository, list[EpisodeHeader]]:
    """Return where the episodes of a dataset are, and which they are, in canonical order.

    Args:
        dataset: The episodes.
        in_steps: Whether the format has steps, of which some may be left out, not whole episodes.

    Raises:
        InvalidInputError: There are no episodes, the storage is no repository, or a step filter is
            set where whole episodes go out.
    """
    repository = dataset._in_repository()  # noqa: SLF001 - one of us
    if not in_steps and dataset._step_filters():  # noqa: SLF001
        raise InvalidInputError(
            "whole episodes go out, and this dataset has a step filter",
            hint="export_d4rl() and convert_to_d4rl_format() give the steps that pass it",
        )
    headers = list(dataset._headers)  # noqa: SLF001
    if not headers:
        raise InvalidInputError("there are no episodes to export", hint="preview() shows what is")
    return repository, headers
