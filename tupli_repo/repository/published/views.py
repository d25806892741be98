"""One revision of a name, as its record and its release say it.

Invariant: what is parsed here is the release of the name whose record names it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tupli_repo.codec.records import ReleaseBody, parse_body
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.refs import Record, RefName


class ReleaseView(NamedTuple):
    """One revision with its release.

    Attributes:
        hash: The hash of the record: the citable revision.
        record: The record.
        body: What the release says.
        benchmarks: Ids; one for a benchmark, for a dataset all its episodes need.
        provenance: Ids of who stored what, and of annotations.
        artifacts: Ids.
        sets: Ids of the episode sets, which have no episode in common.
        withdrawn: Id of the blob with the raw ids of the episodes it takes back.
    """

    hash: str
    record: Record
    body: ReleaseBody
    benchmarks: tuple[ObjectId, ...]
    provenance: tuple[ObjectId, ...]
    artifacts: tuple[ObjectId, ...]
    sets: tuple[ObjectId, ...]
    withdrawn: ObjectId | None

    @property
    def can_be_yanked(self) -> bool:
        """Whether a yank counts: a union would be made again, what it takes back shown again."""
        body = self.body
        return bool(body.created_by) and not body.n_withdrawn and not body.is_retracted

    @property
    def subject(self) -> tuple[str, ...]:
        """What it is of: heads of one subject unite, heads of several are a conflict."""
        match self.record.name.kind:
            case "dataset":
                return (self.body.digest,)
            case "artifact":
                return self.artifacts
            case _:
                return self.benchmarks


def parse_release(record_hash: str, record: Record, obj: Object) -> ReleaseView:
    """Return a revision made of its record and its release.

    Raises:
        CorruptObjectError: It is not the release of that name.
    """
    if obj.kind is not Kind.RELEASE:
        raise damaged(record.release, f"it is a {obj.kind}")
    try:
        body = parse_body(ReleaseBody, obj.body)
    except CorruptObjectError as err:
        raise damaged(record.release, err.reason) from None
    if (body.group, body.kind) != (record.name.group, record.name.kind):
        raise damaged(record.release, f"it is not of '{record.name}'")
    ends = [0]
    for n in (body.n_benchmarks, body.n_provenance, body.n_artifacts):
        ends.append(ends[-1] + n)
    sets_end = len(obj.links) - bool(body.n_withdrawn)
    if ends[-1] > sets_end or (body.kind == "benchmark" and body.n_benchmarks != 1):
        raise damaged(record.release, "it lacks a link")
    return ReleaseView(
        hash=record_hash,
        record=record,
        body=body,
        benchmarks=obj.links[: ends[1]],
        provenance=obj.links[ends[1] : ends[2]],
        artifacts=obj.links[ends[2] : ends[3]],
        sets=obj.links[ends[3] : sets_end],
        withdrawn=obj.links[-1] if body.n_withdrawn else None,
    )


def check_generations(name: RefName, views: Mapping[str, ReleaseView]) -> None:
    """Check that each revision of a name has the generation that follows from its parents.

    Raises:
        CorruptObjectError: One has not.
    """
    for one, view in views.items():
        above = (views[parent].record.generation for parent in view.record.parents)
        if view.record.generation != 1 + max(above, default=0):
            raise CorruptObjectError(
                f"revision '{one[:12]}' of '{name}' is damaged: its generation does not follow its"
                " parents"
            )


def damaged(oid: ObjectId, why: str) -> CorruptObjectError:
    """Return what is raised of a release that is not what it should be."""
    return CorruptObjectError(f"release '{oid[:12]}' is damaged: {why}")
