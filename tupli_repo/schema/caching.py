"""What is told of the datasets that are kept in the user's cache; sizes in bytes."""

from pydantic import BaseModel, ConfigDict


class KeptDataset(BaseModel):
    """One dataset that is kept.

    Attributes:
        key: What it is found by: it stands for its episodes, their order, and the columns.
        title: What it is; empty where that cannot be read.
        size_bytes: What it takes.
        last_used: When it was made or mapped last, in UTC.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    title: str
    size_bytes: int
    last_used: str


class CacheReport(BaseModel):
    """What is kept.

    Attributes:
        folder: Where it is.
        is_enabled: Whether datasets are kept and used at all.
        datasets: The datasets, what was used last first.
        size_bytes: What they take.
        max_bytes: What they may take.
    """

    model_config = ConfigDict(frozen=True)

    folder: str
    is_enabled: bool
    datasets: list[KeptDataset]
    size_bytes: int
    max_bytes: int


class CacheVerified(BaseModel):
    """What a check of every byte has found.

    Attributes:
        datasets: How many datasets were looked at.
        bytes_read: How much was read of them.
        removed: Why, of those that were wrong, by key; they are gone, and made anew when needed.
    """

    model_config = ConfigDict(frozen=True)

    datasets: int
    bytes_read: int
    removed: dict[str, str]


class CacheCleared(BaseModel):
    """What was removed.

    Attributes:
        datasets: How many datasets.
        bytes_freed: What they took; what is still mapped somewhere is free when it is not any more.
    """

    model_config = ConfigDict(frozen=True)

    datasets: int
    bytes_freed: int
