"""What is told of an import and of an export."""

from pydantic import BaseModel, ConfigDict


class ImportReport(BaseModel):
    """What an import brought.

    Attributes:
        format: What the source is: a format of ``tupli import``, ``arrays`` or ``rlds``.
        source: Where it is; empty for what is in memory.
        benchmarks: The ids of the benchmarks its episodes are of.
        n_artifacts: How many artifacts came with them.
        n_episodes: How many episodes the source holds that can be episodes here.
        n_steps: Their steps.
        n_new: How many of them were not here before.
        left_out: What was not brought, or not as it stands there, in phrases.
    """

    model_config = ConfigDict(frozen=True)

    format: str
    source: str = ""
    benchmarks: tuple[str, ...] = ()
    n_artifacts: int = 0
    n_episodes: int = 0
    n_steps: int = 0
    n_new: int = 0
    left_out: tuple[str, ...] = ()


class ExportReport(BaseModel):
    """What an export wrote.

    Attributes:
        format: What was written: a format of ``tupli export``.
        path: Where it is.
        n_episodes: How many episodes it holds.
        n_steps: Their steps.
        left_out: What the format has no place for, in phrases.
    """

    model_config = ConfigDict(frozen=True)

    format: str
    path: str
    n_episodes: int = 0
    n_steps: int = 0
    left_out: tuple[str, ...] = ()
