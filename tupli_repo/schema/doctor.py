"""What is told of a folder that a repository lies in, or is to lie in."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

State = Literal["ok", "degraded", "unusable"]


class ProbeItem(BaseModel):
    """One thing that was tried.

    Attributes:
        name: What was tried.
        state: ``ok``; ``degraded``: it works, and what follows is to be known; ``unusable``.
        found: What was found.
        follows: What follows from it; empty where nothing does.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    state: State
    found: str
    follows: str = ""


class DoctorReport(BaseModel):
    """What a folder can do, and what follows for a repository in it.

    Attributes:
        folder: The folder.
        is_repository: Whether there is a repository in it.
        probes: What was tried, in order.
        clock_skew_s: How far the file server's clock is ahead of this machine's, in seconds; None
            where nothing could be written.
        mtime_step_s: How finely the file server tells times, in seconds, about; None as above.
        free_bytes: What may still be written there; None where that is not known.
        free_inodes: How many files and folders may still be made there; None as above.
    """

    model_config = ConfigDict(frozen=True)

    folder: str
    is_repository: bool
    probes: tuple[ProbeItem, ...]
    clock_skew_s: float | None = None
    mtime_step_s: float | None = None
    free_bytes: int | None = None
    free_inodes: int | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state(self) -> State:
        """The worst that was found."""
        states = {probe.state for probe in self.probes}
        if "unusable" in states:
            return "unusable"
        return "degraded" if "degraded" in states else "ok"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> str:
        """All of it in one line."""
        named = ", ".join(probe.name for probe in self.probes if probe.state == self.state)
        what = "the repository" if self.is_repository else "a repository"
        if self.state == "unusable":
            return f"{what} cannot be used in '{self.folder}': {named}"
        if self.state == "degraded":
            return f"{what} works in '{self.folder}', with less: {named}"
        return f"{what} has all it needs in '{self.folder}'"
