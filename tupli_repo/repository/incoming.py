"""What comes from others is looked at before it is let in.

Bytes are verified on the way; here it is asked whether they are what a name says they are, and
whether the floors above can read them: one benchmark that nobody can read would keep everything
else here from being listed.

Invariant: what has been checked can be read here, and hides nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from tupli_repo.codec.episode import decode_record
from tupli_repo.codec.records import ArtifactBody, BenchmarkBody, ProvenanceBody, parse_body
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.repository.publishing import digest_of
from tupli_repo.repository.releases import Releases, ReleaseView

_SHOWN_DIGITS = 12
_N_LINKS = {Kind.BENCHMARK: 1, Kind.EPISODE: 2}  # an environment; a benchmark and a layout
_READERS: Mapping[Kind, Callable[[bytes], object]] = {
    Kind.ARTIFACT: lambda body: parse_body(ArtifactBody, body),
    Kind.BENCHMARK: lambda body: parse_body(BenchmarkBody, body),
    Kind.EPISODE: decode_record,
    Kind.PROVENANCE: lambda body: parse_body(ProvenanceBody, body),
}


def check_objects(source: RemoteObjects, ids: Collection[ObjectId]) -> None:
    """Check that objects can be read here once they are here.

    Args:
        source: Where they are.
        ids: Their ids.

    Raises:
        CorruptObjectError: One cannot, or would hide something.
        NotFoundError: One is not there any more.
    """
    kinds = {oid: found.kind for oid, found in source.look_up(ids).items()}
    for oid, kind in kinds.items():
        if kind is Kind.TOMBSTONE:
            raise _unfit(oid, kind, "it hides things in one place, and is never shared")
    for oid, obj in source.read_many(oid for oid, kind in kinds.items() if kind in _READERS):
        _check(oid, obj)


def check_revisions(
    releases: Releases, views: Iterable[ReleaseView], kind_of: Callable[[ObjectId], Kind | None]
) -> None:
    """Check that revisions are of what they say, and that the heads have what they say.

    Args:
        releases: What they are among.
        views: The revisions.
        kind_of: Tells the kind of an object; None where it is not here yet.

    Raises:
        CorruptObjectError: One is not.
    """
    for view in views:
        for kind, ids in (
            (Kind.BENCHMARK, view.benchmarks),
            (Kind.PROVENANCE, view.provenance),
            (Kind.ARTIFACT, view.artifacts),
        ):
            for oid in ids:
                if kind_of(oid) not in (kind, None):
                    raise _unfit(oid, kind, f"it is a {kind_of(oid)}")
        if view.record.name.kind == "artifact" and not view.artifacts:
            raise _unfit(view.record.release, Kind.RELEASE, "it lacks a link")
        if view in releases.heads(view.record.name):
            episodes = releases.episodes(view)
            if digest_of(episodes) != view.body.digest:
                raise _unfit(view.record.release, Kind.RELEASE, "its digest is of something else")


def _check(oid: ObjectId, obj: Object) -> None:
    if len(obj.links) < _N_LINKS.get(obj.kind, 0):
        raise _unfit(oid, obj.kind, "it lacks a link")
    try:
        _READERS[obj.kind](obj.body)
    except CorruptObjectError as err:
        raise _unfit(oid, obj.kind, err.reason) from None


def _unfit(oid: ObjectId, kind: Kind, why: str) -> CorruptObjectError:
    return CorruptObjectError(f"{kind} '{oid[:_SHOWN_DIGITS]}' is damaged: {why}")
