"""What a pull lets in: what is published elsewhere must be what it says, and readable here.

Bytes are verified on the way; this looks at what they say. One benchmark that nobody can read would
keep everything else here from being listed, and a union that says more than what it unites would
take episodes back in nobody's name.
"""

from collections.abc import Callable, Collection, Mapping

from tupli_repo.codec.columns import Places
from tupli_repo.codec.episode import Layout, decode_layout, decode_record, rows_of
from tupli_repo.codec.records import ArtifactBody, BenchmarkBody, ProvenanceBody, parse_body
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.refs import RefName
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.sets import digest_of
from tupli_repo.repository.published.views import ReleaseView
from tupli_repo.repository.sharing.known import Known, Side

_SHOWN_DIGITS = 12
_N_LINKS = {Kind.BENCHMARK: 1, Kind.EPISODE: 2}  # an environment; a benchmark and a layout
_READERS: Mapping[Kind, Callable[[bytes], object]] = {
    Kind.ARTIFACT: lambda body: parse_body(ArtifactBody, body),
    Kind.BENCHMARK: lambda body: parse_body(BenchmarkBody, body),
    Kind.EPISODE: decode_record,  # and more: see `_Look`
    Kind.PROVENANCE: lambda body: parse_body(ProvenanceBody, body),
}


def check_incoming(theirs: Side, ours: Side, known: Known, names: Collection[RefName]) -> None:
    """Check that what a pull is to bring of some names is what they say, and can be read here.

    Args:
        theirs: Where it is.
        ours: Where it is to go.
        known: What they have published.
        names: The names that are looked at.

    Raises:
        CorruptObjectError: Something of them is not what it should be, or would hide other things.
        NotFoundError: Something has gone meanwhile.
    """
    source, here = theirs.objects, ours.objects
    lacking = known.lacking(here, names)
    new = source.closure(source.present(lacking), known=here.contains).ids
    kinds = {oid: found.kind for oid, found in source.look_up(new).items()}
    episodes = known.episodes(names)
    for oid, kind in kinds.items():
        if kind is Kind.TOMBSTONE:
            raise _unfit(oid, kind, "it hides things in one place, and is never shared")
        if kind is not Kind.EPISODE and bytes.fromhex(oid) in episodes:
            raise _unfit(oid, Kind.EPISODE, f"it is of kind '{kind}'")
    twins = [oid for oid in here.loose_ids() if bytes.fromhex(oid) in episodes]
    for oid, found in here.look_up(twins).items():
        if found.kind is not Kind.EPISODE:
            raise _unfit(oid, Kind.EPISODE, f"it is of kind '{found.kind}'")
    look = _Look([source, here], kinds)
    for oid, obj in source.read_many(oid for oid, kind in kinds.items() if kind in _READERS):
        look.at(oid, obj)
    for name in names:
        there, heads = ours.refs.records(name), known.releases.heads(name)
        for one, view in known.releases.views(name).items():
            if one not in there:
                _check_kinds(view, [source, here])
                if not view.body.created_by:
                    _check_union(view, known.releases)
                if view in heads and digest_of(known.releases.episodes(view)) != view.body.digest:
                    raise _unfit(view.record.release, Kind.RELEASE, "its digest is wrong")


class _Look:
    """A look at what records say, and whether it can be decoded; their columns are not read.

    Args:
        sides: Where what they link may be.
        kinds: The kinds of objects, as far as they are known.
    """

    def __init__(self, sides: Collection[RemoteObjects], kinds: Mapping[ObjectId, Kind]) -> None:
        self._sides = sides
        self._kinds = dict(kinds)
        self._layouts: dict[ObjectId, Layout] = {}

    def at(self, oid: ObjectId, obj: Object) -> None:
        """Check one record."""
        if len(obj.links) < _N_LINKS.get(obj.kind, 0):
            raise _unfit(oid, obj.kind, "it lacks a link")
        try:
            if obj.kind is Kind.EPISODE:
                self._check_episode(obj)
            else:
                _READERS[obj.kind](obj.body)
        except CorruptObjectError as err:
            raise _unfit(oid, obj.kind, err.reason) from None

    def _check_episode(self, obj: Object) -> None:
        record, (benchmark, layout_id, *blobs) = decode_record(obj.body), obj.links
        for link in obj.links:
            belongs = Kind.BENCHMARK if link == benchmark else Kind.BLOB
            if self._kind_of(link) not in (None, belongs):
                raise CorruptObjectError(f"it links the {self._kind_of(link)} '{link[:12]}'")
        layout = self._layout(layout_id)
        if layout is not None:
            Places(layout.columns, rows_of(record, layout), len(blobs))  # or it raises

    def _layout(self, oid: ObjectId) -> Layout | None:
        if oid not in self._layouts:
            side = next((side for side in self._sides if side.contains(oid)), None)
            if side is None:
                return None
            self._layouts[oid] = decode_layout(side.read(oid).body)
        return self._layouts[oid]

    def _kind_of(self, oid: ObjectId) -> Kind | None:
        if oid not in self._kinds:
            side = next((side for side in self._sides if side.contains(oid)), None)
            if side is None:
                return None
            self._kinds[oid] = side.kind_of(oid)
        return self._kinds[oid]


def _check_kinds(view: ReleaseView, sides: Collection[RemoteObjects]) -> None:
    """Check that what a revision is of has the kinds it should have."""
    if view.record.name.kind == "artifact" and len(view.artifacts) != 1:
        raise _unfit(view.record.release, Kind.RELEASE, "it is not of one artifact")
    for kind, ids in (
        (Kind.BENCHMARK, view.benchmarks),
        (Kind.PROVENANCE, view.provenance),
        (Kind.ARTIFACT, view.artifacts),
    ):
        for oid in ids:
            found = {side.kind_of(oid) for side in sides if side.contains(oid)}
            if not found <= {kind}:
                raise _unfit(oid, kind, f"it is of kind '{min(found)}'")


def _check_union(view: ReleaseView, releases: Releases) -> None:
    """Check that a union, which nobody made, says no more than what it unites."""
    name = view.record.name
    history, withdrawn = releases.history(name), releases.withdrawn(view)
    made = (history.revision(one) for one in releases.views(name))
    taken_back = frozenset[bytes]().union(*(one.withdrawn for one in made if one.is_made))
    held = history.union(view.record.parents, view.subject)
    if releases.episodes(view) != held - withdrawn or not withdrawn <= taken_back:
        raise _unfit(view.record.release, Kind.RELEASE, "it is not what it unites")


def _unfit(oid: ObjectId, kind: Kind, why: str) -> CorruptObjectError:
    return CorruptObjectError(f"{kind} '{oid[:_SHOWN_DIGITS]}' is damaged: {why}")
