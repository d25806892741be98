"""What verbs between two repositories report."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True)


class RemoteItem(_Report):
    """A repository to exchange with.

    Attributes:
        name: What it is called here.
        url: Where it is: the folder that holds its `.tupli`, or a bundle.
    """

    name: str
    url: str


class RemoteStatus(_Report):
    """How the names here compare with those of a remote; by their revisions alone.

    Attributes:
        name: What the remote is called here.
        url: Where it is.
        unpushed: The names, ``group/kind/name``, of which it lacks a revision that is here.
        unpulled: The names of which it has a revision that is not here.
        error: Why it cannot be asked; empty where it can.
    """

    name: str
    url: str
    unpushed: tuple[str, ...] = ()
    unpulled: tuple[str, ...] = ()
    error: str = ""


class NameTransfer(_Report):
    """What is brought of one name.

    Attributes:
        group: The group.
        kind: ``benchmark``, ``dataset`` or ``artifact``.
        name: The name.
        title: The name as it is shown.
        n_revisions: How many revisions the other side lacks.
        n_episodes: How many episodes of the name the other side lacks.
    """

    group: str
    kind: str
    name: str
    title: str
    n_revisions: int
    n_episodes: int


class TransferReport(_Report):
    """What was brought from one repository to another, or is to be.

    Attributes:
        verb: ``push``, ``fetch``, ``pull``, ``clone`` or ``bundle``.
        remote: What the remote is called here; empty where it has no name.
        url: Where it is.
        dry_run: Whether nothing was done.
        names: The names of which something is brought.
        n_objects: How many objects the receiver lacked.
        n_bytes: Their size, about, as the sender has it.
        bytes_written: The size of the files that were written for them.
        diverged: Names that went two ways, ``group/kind/name``; both ways are kept.
        incomplete: Names of which the sender itself has not all: a push brings what there is of
            them, a pull the revisions that are whole, with all they follow.
        damaged: One line for each damaged file that was met, and what was left out for it.
        n_pruned: How many episodes that were taken back were removed there.
    """

    verb: Literal["push", "fetch", "pull", "clone", "bundle"]
    remote: str = ""
    url: str
    dry_run: bool = False
    names: tuple[NameTransfer, ...] = ()
    n_objects: int = 0
    n_bytes: int = 0
    bytes_written: int = 0
    diverged: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    n_pruned: int = 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def n_revisions(self) -> int:
        """How many revisions are brought."""
        return sum(one.n_revisions for one in self.names)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def n_episodes(self) -> int:
        """How many episodes are brought."""
        return sum(one.n_episodes for one in self.names)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_clean(self) -> bool:
        """Whether all was brought and no name has diverged."""
        return not (self.diverged or self.incomplete or self.damaged)
