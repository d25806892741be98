"""What every export shares: which episodes go out, and from where.

Invariant: a dataset whose steps are filtered does not go out as if they were not.
"""

from collections.abc import Iterator, Sequence

from tupli_repo.codec.episode import EpisodeData
from tupli_repo.curation import CuratedEpisodes
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.progress import OnProgress, told
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeHeader


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
    if not in_steps:
        check_whole(dataset)
    headers = list(dataset._headers)  # noqa: SLF001
    if not headers:
        raise InvalidInputError("there are no episodes to export", hint="preview() shows what is")
    return repository, headers


def check_whole(dataset: CuratedEpisodes) -> None:
    """Check that a dataset has whole episodes.

    Raises:
        InvalidInputError: A step filter is set.
    """
    if dataset._step_filters():  # noqa: SLF001
        raise InvalidInputError(
            "whole episodes go out, and this dataset has a step filter",
            hint="export_d4rl() and convert_to_d4rl_format() give the steps that pass it",
        )


def read_all(
    repository: Repository, headers: Sequence[EpisodeHeader], on_progress: OnProgress | None
) -> Iterator[tuple[EpisodeHeader, EpisodeData]]:
    """Iterate over episodes, and tell how far it has come.

    Args:
        repository: Where they are.
        headers: Which they are, in order.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        CorruptObjectError: One is damaged.
    """
    ids = [header.id for header in headers]
    return told(repository.read_episodes(ids), len(ids), on_progress)
