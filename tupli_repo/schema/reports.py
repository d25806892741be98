"""What verbs on a whole repository report."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field, field_serializer

from tupli_repo.schema.transfers import RemoteStatus


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
        hidden: How many records were removed here, and can be restored, from the trash too.
        pending: How many records lack something they link: a copy is under way, or was cut off.
        packs: Sealed packs.
        journals: Journals: writers at work, or that died.
        size_bytes: The size of all files under the root.
        trash_bytes: The part of that which is in the trash, and freed in time.
        mergeable_packs: How many small packs would be merged.
        pending_names: How many names have revisions of which something is not here.
        unpublished_benchmarks: How many of the listed are published in no group.
        unpublished_episodes: The same of the episodes.
        unpublished_artifacts: The same of the artifacts.
        remotes: How the names here compare with those of each remote.
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
    trash_bytes: int = 0
    mergeable_packs: int = 0
    pending_names: int = 0
    unpublished_benchmarks: int = 0
    unpublished_episodes: int = 0
    unpublished_artifacts: int = 0
    remotes: tuple[RemoteStatus, ...] = ()


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


class ElementsDifference(_Report):
    """How the elements of two arrays or lists of numbers differ.

    Attributes:
        count: How many differ.
        of: How many were compared.
        first_index: The place of the first that differs, in C order.
        ours: That element here.
        theirs: That element there.
        max_abs_difference: The largest one; None where there is no finite one.
    """

    count: int
    of: int
    first_index: list[int]
    ours: str
    theirs: str
    max_abs_difference: int | float | None = None


class Difference(_Report):
    """One place in which two things differ.

    Attributes:
        path: Where in ours; where only theirs has it, where in theirs.
        their_path: Where in theirs, if that is another path: layers below it came or went.
        kind: Whether both have a value, or only ours (``only here``), or only theirs.
        ours: Our value, cut where it is long; empty where there is none.
        theirs: Their value.
        note: What else there is to say, empty where that is all.
        elements: How many elements differ, of arrays and lists of numbers that can be compared.
    """

    path: str
    their_path: str = ""
    kind: Literal["changed", "only here", "only there"]
    ours: str = ""
    theirs: str = ""
    note: str = ""
    elements: ElementsDifference | None = None


class BenchmarkDiff(_Report):
    """What differs between two benchmarks.

    Attributes:
        ours: The id of the one.
        theirs: The id of the other.
        metadata: What differs in the words about them.
        environment: What differs in their environments.
    """

    ours: str
    theirs: str
    metadata: list[Difference]
    environment: list[Difference]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def environments_equal(self) -> bool:
        """Whether both are the same environment."""
        return not self.environment

    @computed_field  # type: ignore[prop-decorator]
    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.metadata and not self.environment


class ReplayReport(_Report):
    """How an episode that was run again compares with what was recorded.

    Attributes:
        verdict: ``exact``: all is the same, bit for bit (NaN equals NaN). ``close``: only
            floating-point numbers differ, by no more than 1e-6 (relative above 1, or two units in
            the last place of half precision). ``different``: anything else.
        n_steps: How many steps were run and compared.
        first_step: Where the first difference is: 0 for what ``reset`` returned, t+1 for what came
            of ``actions[t]``; None where there is none.
        column: The column it is in; None where the environment raised.
        element: Its index within the column's row; empty for a scalar.
        recorded: The value that was recorded there.
        replayed: The value that came this time.
        max_abs_difference: The largest difference of floating-point numbers, in all columns;
            infinite where one of two is not finite.
        note: What else is to be known; empty where nothing is.
    """

    verdict: Literal["exact", "close", "different"]
    n_steps: int
    first_step: int | None = None
    column: str | None = None
    element: tuple[int, ...] = ()
    recorded: bool | int | float | str | None = None
    replayed: bool | int | float | str | None = None
    max_abs_difference: float = 0.0
    note: str = ""

    @field_serializer("recorded", "replayed", "max_abs_difference", when_used="json")
    def _for_json(self, value: object) -> object:
        """JSON knows no infinity and no NaN: they are text."""
        is_finite = not isinstance(value, float) or math.isfinite(value)
        return value if is_finite else str(value)


class ReleaseItem(_Report):
    """One revision of a name: what was published, by whom, and what became of it.

    Attributes:
        revision: The hash of its record, 64 hex digits: what one cites.
        name: The name, as in ``NAME@REVISION``.
        title: The name as it is shown.
        group: The group it is published in.
        kind: ``benchmark``, ``dataset`` or ``artifact``.
        generation: 1 + the highest parent's.
        parents: The revisions it follows.
        release: The id of the release object.
        version: The benchmark's version.
        created_by: Who published it; empty for a union.
        created_at: When, in UTC.
        message: What was said of it.
        licence: Under which terms others may use it.
        citation: How to cite it.
        benchmarks: The ids of its benchmarks.
        artifacts: The ids of the artifacts it names itself; a benchmark's own are not among them.
        n_episodes: How many episodes it has.
        n_added: How many of them its parents have not together.
        n_withdrawn: How many it takes back.
        digest: SHA-256 of the raw ids of its episodes, sorted.
        is_head: Whether the name leads to it.
        is_union: Whether it came of uniting others, without anybody.
        is_retracted: Whether it takes back the whole.
        yanked: Why it is advised against; None where it is not.
        pending: Whether something it names is not here (yet, or any more).
    """

    revision: str
    name: str
    title: str
    group: str
    kind: str
    generation: int
    parents: tuple[str, ...]
    release: str
    version: str | None = None
    created_by: str
    created_at: str
    message: str = ""
    licence: str = ""
    citation: str = ""
    benchmarks: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    n_episodes: int = 0
    n_added: int = 0
    n_withdrawn: int = 0
    digest: str
    is_head: bool = False
    is_union: bool = False
    is_retracted: bool = False
    yanked: str | None = None
    pending: bool = False


class NameItem(_Report):
    """A name under which something is published.

    Attributes:
        name: The name.
        group: The group.
        kind: ``benchmark``, ``dataset`` or ``artifact``.
        n_revisions: How many revisions there are.
        current: What a reader of the name gets; several are a conflict, none where all is yanked
            or pending.
        diverged: Whether the name went two ways, and nobody said which comes next.
    """

    name: str
    group: str
    kind: str
    n_revisions: int
    current: tuple[ReleaseItem, ...]
    diverged: bool = False


class PublishReport(_Report):
    """What came of publishing, or of taking back.

    Attributes:
        releases: The revisions that hold it now, one for each name (each side of a conflict).
        n_new: How many of them are new; the others were there already.
        n_added: How many episodes were not published under those names before.
        n_withdrawn: How many episodes were taken back.
        benchmarks: The ids of benchmarks that were published because their episodes were.
        deferred: Whether it is done when the batch is left, so that there is no revision yet.
    """

    releases: tuple[ReleaseItem, ...] = ()
    n_new: int = 0
    n_added: int = 0
    n_withdrawn: int = 0
    benchmarks: tuple[str, ...] = ()
    deferred: bool = False
