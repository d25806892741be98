"""What a pull lets in: what is published elsewhere must be what it says, and readable here.

Bytes are verified on the way; this looks at what they say. One benchmark that nobody can read would
keep everything else here from being listed, and a union that says more than what it unites would
take episodes back in nobody's name.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from tupli_repo.codec.columns import Places
from tupli_repo.codec.episode import Layout, decode_layout, rows_of
from tupli_repo.codec.episode_record import decode_record, decode_records
from tupli_repo.codec.records import (
    AnnotationBody,
    ArtifactBody,
    BenchmarkBody,
    ProvenanceBody,
    parse_body,
)
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.refs import RefName
from tupli_repo.odb.remote import Found, RemoteObjects
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.sets import digest_of
from tupli_repo.repository.published.views import ReleaseView
from tupli_repo.repository.sharing.known import Known, Side
from tupli_repo.repository.sharing.parcels import Lack

_SHOWN_DIGITS = 12
_AT_ONCE = 256
_N_LINKS = {Kind.BENCHMARK: 1, Kind.EPISODE: 2}  # an environment; a benchmark and a layout
_READERS: Mapping[Kind, Callable[[bytes], object]] = {
    Kind.ARTIFACT: lambda body: parse_body(ArtifactBody, body),
    Kind.BENCHMARK: lambda body: parse_body(BenchmarkBody, body),
    Kind.EPISODE: decode_record,  # and more: see `Incoming`
    Kind.PROVENANCE: lambda body: parse_body(ProvenanceBody, body),
    Kind.ANNOTATION: lambda body: parse_body(AnnotationBody, body),
}


class Incoming:
    """A look at what a pull is to bring: is it what it says, and can it be read here?

    Columns are not read.

    Args:
        theirs: Where it is.
        ours: Where it is to go.
    """

    def __init__(self, theirs: Side, ours: Side) -> None:
        self._ours = ours
        self._sides = [theirs.objects, ours.objects]
        self._layouts: dict[ObjectId, Layout | None] = {}
        self._fitting: set[tuple[ObjectId, int, bool, int]] = set()
        self._linked: dict[Kind, dict[ObjectId, ObjectId]] = {Kind.BENCHMARK: {}, Kind.BLOB: {}}
        self._waiting: list[tuple[ObjectId, Object]] = []
        self._damage: CorruptObjectError | None = None

    def see(self, oid: ObjectId, obj: Object) -> None:
        """Look at one record; what is wrong with it is told by `check`."""
        if self._damage is not None or obj.kind not in _READERS:
            return
        if len(obj.links) < _N_LINKS.get(obj.kind, 0):
            self._damage = _unfit(oid, obj.kind, "it lacks a link")
            return
        try:
            if obj.kind is Kind.EPISODE:
                self._waiting.append((oid, obj))
                if len(self._waiting) >= _AT_ONCE:
                    self._see_episodes()
            else:
                _READERS[obj.kind](obj.body)
        except CorruptObjectError as err:
            self._damage = _unfit(oid, obj.kind, err.reason)

    def check(self, known: Known, names: Collection[RefName], lack: Lack) -> None:
        """Check that what is to be brought of some names is what they say, and can be read here.

        Args:
            known: What they have published.
            names: The names; each new record that they need was seen.
            lack: What they need and is not here.

        Raises:
            CorruptObjectError: Something is not what it should be, or would hide other things.
            NotFoundError: Something has gone meanwhile.
        """
        here, episodes = self._ours.objects, known.episodes(names)
        for oid, found in lack.below.found.items():
            if found.kind is Kind.TOMBSTONE:
                raise _unfit(oid, found.kind, "it hides things in one place, and is never shared")
            if found.kind is not Kind.EPISODE and bytes.fromhex(oid) in episodes:
                raise _unfit(oid, Kind.EPISODE, f"it is of kind '{found.kind}'")
        twins = [oid for oid in here.loose_ids() if bytes.fromhex(oid) in episodes]
        for oid, found in here.look_up(twins).items():
            if found.kind is not Kind.EPISODE:
                raise _unfit(oid, Kind.EPISODE, f"it is of kind '{found.kind}'")
        self._see_episodes()
        if self._damage is not None:
            raise self._damage
        self._check_links(lack.below.found)
        for name in names:
            there, heads = self._ours.refs.records(name), known.releases.heads(name)
            for one, view in known.releases.views(name).items():
                if one not in there:
                    _check_kinds(view, self._sides)
                    if not view.body.created_by:
                        _check_union(view, known.releases)
                    if view in heads:
                        _check_digest(view, known.releases)

    def _see_episodes(self) -> None:
        """Look at the episodes that wait for it; many are decoded at once."""
        waiting, self._waiting = self._waiting, []
        with suppress(CorruptObjectError):
            records = decode_records([obj.body for _, obj in waiting])
            for (oid, obj), record in zip(waiting, records, strict=True):
                self._see_episode(oid, obj, record)
            return
        for oid, obj in waiting:  # which of them is it?
            try:
                self._see_episode(oid, obj, decode_record(obj.body))
            except CorruptObjectError as err:
                self._damage = self._damage or _unfit(oid, obj.kind, err.reason)

    def _see_episode(self, oid: ObjectId, obj: Object, record: Mapping[str, Any]) -> None:
        benchmark, layout_id, *blobs = obj.links
        self._linked[Kind.BENCHMARK][benchmark] = oid
        self._linked[Kind.BLOB].update(dict.fromkeys(obj.links[1:], oid))
        like = layout_id, record["n_steps"], record["final_observation"], len(blobs)
        if like in self._fitting and not record["lengths"]:
            return
        layout = self._layout(layout_id)
        if layout is not None:
            Places(layout.columns, rows_of(record, layout), len(blobs))  # or it raises
            if not record["lengths"]:
                self._fitting.add(like)

    def _layout(self, oid: ObjectId) -> Layout | None:
        if oid not in self._layouts:
            side = next((side for side in self._sides if side.contains(oid)), None)
            self._layouts[oid] = None if side is None else decode_layout(side.read(oid).body)
        return self._layouts[oid]

    def _check_links(self, new: Mapping[ObjectId, Found]) -> None:
        """Check that what episodes link has the kinds it should have, wherever it is."""
        for belongs, linked in self._linked.items():
            kinds = {oid: new[oid].kind for oid in linked if oid in new}
            for side in self._sides:
                others = side.look_up(linked.keys() - kinds.keys())
                kinds |= {oid: found.kind for oid, found in others.items()}
            for oid, kind in kinds.items():
                if kind is not belongs:
                    why = f"it links the {kind} '{oid[:_SHOWN_DIGITS]}'"
                    raise _unfit(linked[oid], Kind.EPISODE, why)


def _check_kinds(view: ReleaseView, sides: Collection[RemoteObjects]) -> None:
    """Check that what a revision is of has the kinds it should have."""
    if view.record.name.kind == "artifact" and len(view.artifacts) != 1:
        raise _unfit(view.record.release, Kind.RELEASE, "it is not of one artifact")
    for kinds, ids in (
        ((Kind.BENCHMARK,), view.benchmarks),
        ((Kind.PROVENANCE, Kind.ANNOTATION), view.provenance),
        ((Kind.ARTIFACT,), view.artifacts),
    ):
        for oid in ids:
            found = {side.kind_of(oid) for side in sides if side.contains(oid)}
            if not found.issubset(kinds):
                raise _unfit(oid, kinds[0], f"it is of kind '{min(found)}'")


def _check_digest(view: ReleaseView, releases: Releases) -> None:
    """Check that what a paper cites of a revision is what it has."""
    if digest_of(releases.episodes(view)) != view.body.digest:
        raise _unfit(view.record.release, Kind.RELEASE, "its digest is wrong")


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
