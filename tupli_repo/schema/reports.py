"""What verbs on a whole repository report."""

from pydantic import BaseModel, ConfigDict


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True)


class StatusReport(_Report):
    """What a repository holds.

    Attributes:
        root: The `.tupli` folder.
        role: ``work`` or ``bare``.
        benchmarks: How many are listed.
        episodes: How many are listed.
        artifacts: How many are listed.
        steps: The steps of all listed episodes.
        hidden: How many records were removed here, and can be restored.
        pending: How many records lack something they link: a copy is under way, or was cut off.
        packs: Sealed packs.
        journals: Journals: writers at work, or that died.
        size_bytes: The size of all files under the root.
    """

    root: str
    role: str
    benchmarks: int
    episodes: int
    artifacts: int
    steps: int
    hidden: int
    pending: int
    packs: int
    journals: int
    size_bytes: int


class UsageItem(_Report):
    """What one benchmark or artifact takes on the disk.

    Attributes:
        kind: ``benchmark`` (its environment and episodes) or ``artifact``.
        id: Its id.
        name: Its name.
        episodes: How many episodes were recorded in it.
        raw_bytes: The size of its objects, uncompressed; shared ones count for each.
        stored_bytes: Their part of the files they lie in.
    """

    kind: str
    id: str
    name: str
    episodes: int
    raw_bytes: int
    stored_bytes: int
