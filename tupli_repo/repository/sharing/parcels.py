"""What is brought from one repository to another: chosen, put together, and brought in order.

What is named comes before what names it: objects, then records, parents before children, then
yanks. So the target reads as before until a record has arrived.

Invariant: a parcel has what the target lacks and nothing else; what is kept back is not in it.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from tupli_repo.odb.closure import Closure, closure_of
from tupli_repo.odb.objects import Object, ObjectId
from tupli_repo.odb.refs import Record, Yank
from tupli_repo.odb.remote import Found
from tupli_repo.odb.sync import Progress, copy, put_loose
from tupli_repo.repository.sharing.known import Known, Side
from tupli_repo.schema.transfers import NameTransfer

OnProgress = Callable[[Progress], None]


class Lack(NamedTuple):
    """What some names need and the target has not.

    Attributes:
        raw_ids: Of what the names' revisions name.
        below: That, as far as the source has it, with all it needs and the target has not.
    """

    raw_ids: set[bytes]
    below: Closure


class Parcel(NamedTuple):
    """What is to be brought.

    Attributes:
        found: Objects of the source, their kinds and sizes, what is linked first.
        made: Objects that uniting has made.
        records: Parents before children.
        yanks: Marks on records.
        names: What is brought of each name.
        n_bytes: The size of the objects, about.
    """

    found: Mapping[ObjectId, Found]
    made: tuple[Object, ...]
    records: tuple[Record, ...]
    yanks: tuple[tuple[Record, Yank], ...]
    names: tuple[NameTransfer, ...]
    n_bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.found or self.made or self.records or self.yanks)


def choose_parcel(
    known: Known,
    source: Side,
    target: Side,
    lacking: set[bytes],
    *,
    but: Collection[bytes] = (),
    in_depth: bool = False,
) -> Parcel:
    """Choose what the target lacks and the source, or memory, has.

    Args:
        known: What takes part.
        source: Where things come from.
        target: Where they go.
        lacking: The raw ids of what the names need and the target has not.
        but: Episodes that do not go, by their raw ids.
        in_depth: Whether what the episodes need that are there is looked at, too.
    """

    def kept_back(ids: Collection[ObjectId]) -> set[ObjectId]:
        return {oid for oid in ids if bytes.fromhex(oid) in but} if but else set()

    def settled(ids: Collection[ObjectId]) -> set[ObjectId]:
        return target.objects.held(ids) | kept_back(ids)

    roots = list(source.objects.present(known.everything(known.names()) if in_depth else lacking))
    left_out = kept_back(roots)
    below = closure_of(
        source.objects,
        (oid for oid in roots if oid not in left_out),
        known=kept_back if in_depth else settled,
        spread=known.spread(known.names()),
    )
    if in_depth:
        there = target.objects.held(below.found)
        found = {oid: one for oid, one in below.found.items() if oid not in there}
        below = below._replace(found=found)
    return parcel_of(known, target, Lack(lacking, below))


def parcel_of(known: Known, target: Side, lack: Lack) -> Parcel:
    """Put together what the target lacks, with the records that name it."""
    made = [obj for oid, obj in known.objects.made.items() if bytes.fromhex(oid) in lack.raw_ids]
    found = lack.below.found
    # of what was taken back there may be nothing to bring
    raw_ids = frozenset(lack.raw_ids.intersection(map(bytes.fromhex, found)))
    records, yanks, transfers = list[Record](), list[tuple[Record, Yank]](), list[NameTransfer]()
    for name in known.names():
        views, there = known.releases.views(name), target.refs.records(name)
        new = [view.record for one, view in views.items() if one not in there]
        marked = target.refs.yanks(name)
        records += new
        yanks += [
            (views[one].record, yank)
            for one, yank in known.refs.yanks(name).items()
            if one in views and one not in marked
        ]
        transfer = known.transfer(name, len(new), raw_ids, target.objects)
        if transfer.n_revisions or transfer.n_episodes:
            transfers.append(transfer)
    records.sort(key=lambda record: (record.generation, record.hash))
    return Parcel(
        found,
        tuple(made),
        tuple(records),
        tuple(yanks),
        tuple(transfers),
        sum(max(0, one.size) for one in found.values()),
    )


def bring(
    parcel: Parcel, source: Side, target: Side, on_progress: OnProgress | None, *, is_own: bool
) -> int:
    """Bring objects, then what was made, then records, then yanks; returns the bytes written."""
    written = 0
    if parcel.found:
        report = copy(
            source.objects,
            target.objects,
            parcel.found,
            found=parcel.found,
            on_progress=on_progress,
            is_own=is_own,
        )
        written = report.bytes_written
    for obj in parcel.made:
        written += put_loose(target.objects, obj)
    for record in parcel.records:
        target.refs.put(record)
    for record, yank in parcel.yanks:
        target.refs.put_yank(record, yank)
    return written
