"""What is told of a dataset's quality."""

from pydantic import BaseModel, ConfigDict


class MetricValue(BaseModel):
    """One metric.

    Attributes:
        metric: Which.
        value: Its value.
        note: What it was computed of, and how.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    value: float
    note: str = ""


class LeftOut(BaseModel):
    """A metric that was not computed.

    Attributes:
        metric: Which.
        reason: Why.
        hint: What would help; empty where nothing would.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    reason: str
    hint: str = ""


class MetricsReport(BaseModel):
    """The quality of a dataset, as far as it was asked for and can be told.

    Attributes:
        n_episodes: How many episodes it has.
        n_steps: How many steps they have together.
        metrics: What was computed.
        left_out: What was not.
    """

    model_config = ConfigDict(frozen=True)

    n_episodes: int
    n_steps: int
    metrics: tuple[MetricValue, ...]
    left_out: tuple[LeftOut, ...] = ()
