"""What checking and repairing a repository report."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

Severity = Literal["error", "warning", "info"]
Level = Literal["quick", "data", "deep"]
Code = Literal[
    "damaged",
    "missing",
    "malformed",
    "unreadable",
    "pending",
    "stranger",
    "mode",
    "torn",
    "leftover",
]


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True)


class Finding(_Report):
    """One thing a check found.

    Attributes:
        severity: ``error``: something stored is damaged or missing. ``warning``: something is not
            as it should be, and nothing is lost. ``info``: good to know.
        code: What sort of thing; programs may rely on it.
        path: The file or folder, relative to the `.tupli`; empty where it is about an object.
        object_id: The id of the object, where it is about one.
        kind: What kind of object, where that is known.
        message: What is wrong, in one line.
        hint: The next thing to type; empty where there is nothing to do.
        affects: What depends on it, in phrases: names, benchmarks, how many episodes.
    """

    severity: Severity
    code: Code
    path: str = ""
    object_id: str = ""
    kind: str = ""
    message: str
    hint: str = ""
    affects: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The file, or the first digits of the object's id."""
        return self.path or self.object_id[:12]


class FsckReport(_Report):
    """What a check looked at, and found.

    Attributes:
        root: The `.tupli` folder.
        level: How deep it went.
        sample: The part of the bytes that was looked at; empty for all.
        findings: The gravest first.
        n_objects: How many objects there are that can be read.
        n_files: How many files hold them.
        bytes_read: How many bytes were held against their hashes.
    """

    root: str
    level: Level
    sample: str = ""
    findings: tuple[Finding, ...] = ()
    n_objects: int = 0
    n_files: int = 0
    bytes_read: int = 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def n_errors(self) -> int:
        """How many findings are errors."""
        return sum(one.severity == "error" for one in self.findings)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def n_warnings(self) -> int:
        """How many findings are warnings."""
        return sum(one.severity == "warning" for one in self.findings)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_clean(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.n_errors


class Restored(_Report):
    """Something a repair brought back.

    Attributes:
        object_id: Its id; the revision, of a record.
        kind: What it is.
        source: Where it came from: ``trash``, or a remote's name or place.
    """

    object_id: str
    kind: str
    source: str


class Lost(_Report):
    """Something a repair could not bring back.

    Attributes:
        object_id: Its id, or the first digits of a revision's.
        kind: What it is; empty where that is not known any more.
        affects: What depends on it, in phrases.
    """

    object_id: str
    kind: str = ""
    affects: tuple[str, ...] = ()


class LostEpisodes(_Report):
    """How much of a benchmark cannot be loaded any more.

    Attributes:
        benchmark_id: The id of the benchmark; empty where that is not known any more.
        title: Its name.
        n_episodes: How many of its episodes have lost something.
        n_steps: Their steps; those of episodes whose record itself is lost are not known.
    """

    benchmark_id: str = ""
    title: str = ""
    n_episodes: int = 0
    n_steps: int = 0


class RepairReport(_Report):
    """What a repair did, and what is left.

    Attributes:
        root: The `.tupli` folder.
        dry_run: Whether nothing was done.
        set_aside: The damaged files that were set aside, relative to the `.tupli`.
        folder: Where they are now; empty where there are none.
        n_salvaged: How many objects were copied out of damaged packs and journals.
        restored: What was brought back from elsewhere.
        rebuilt: What was made anew: folders, settings.
        lost: What could be found nowhere.
        lost_episodes: The same, in episodes and steps of each benchmark.
        unreachable: One line for each remote that could not be asked.
        findings: What a check finds afterwards (before, on a dry run).
    """

    root: str
    dry_run: bool = False
    set_aside: tuple[str, ...] = ()
    folder: str = ""
    n_salvaged: int = 0
    restored: tuple[Restored, ...] = ()
    rebuilt: tuple[str, ...] = ()
    lost: tuple[Lost, ...] = ()
    lost_episodes: tuple[LostEpisodes, ...] = ()
    unreachable: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost, and nothing damaged or missing is left."""
        return not self.lost and all(one.severity != "error" for one in self.findings)
