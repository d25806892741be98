"""Models of sharing that are wrong, each in one way: the test of the model must find them out."""

from collections.abc import Iterator
from dataclasses import replace

from tests.sharing.model import Id, Ids, Item, Name, Release, Repository, Sharing, Subject


class UnionOnly(Sharing):
    """Unite by adding up the heads."""

    def union(self, repo: Repository, heads: Ids, subject: Subject, beside: Ids = ()) -> set[Id]:
        same = [head for head in heads if repo.release(head).subject == subject]
        return set().union(*(repo.content(head) for head in same))


class SingleBase(Sharing):
    """Unite three ways, against one newest common ancestor."""

    def union(self, repo: Repository, heads: Ids, subject: Subject, beside: Ids = ()) -> set[Id]:
        same = [head for head in heads if repo.release(head).subject == subject]
        if not same:
            return set()
        first, *others = same
        held, below = set(repo.content(first)), {first, *self.below(repo, first)}
        for head in others:
            theirs = {head, *self.below(repo, head)}
            base = max(below & theirs, key=lambda r: (repo.records[r].generation, r), default=None)
            old = repo.content(base) if base else frozenset()
            new = repo.content(head)
            held = (held | new) - (old - held) - (old - new)
            below |= theirs
        return held


class SignedUnions(Sharing):
    """Put a time on a union."""

    def stamped(self, repo: Repository, made: Release, heads: list[Id]) -> Release:
        return self.dated(made._replace(who="somebody"))


class RefsFirst(Sharing):
    """Copy records before objects."""

    def transfer(self, source: Repository, target: Repository, wanted: set[Id]) -> Iterator[None]:
        yield from self.put_records(source, target)
        yield from super().transfer(source, target, wanted)


class ChildrenFirst(Sharing):
    """Copy the newest record first."""

    def put_records(self, source: Repository, target: Repository) -> Iterator[None]:
        for r in sorted(source.records, key=lambda r: -source.records[r].generation):
            if r not in target.records:
                yield
                self.puts += 1
                target.records[r] = source.records[r]


class SendNeighbours(Sharing):
    """Send what lies beside what is published."""

    def to_send(self, plan: Repository, known: Repository) -> set[Id]:
        items = {i for i, item in plan.objects.items() if isinstance(item, Item)}
        return super().to_send(plan, known) | items


class SendPins(Sharing):
    """Send the group `local`, too."""

    def shared(self, repo: Repository) -> Repository:
        return replace(
            repo, objects=dict(repo.objects), records=dict(repo.records), yanks=set(repo.yanks)
        )


class SendTakenBack(Sharing):
    """Send the whole history, taken back or not; prune is undone by the next push."""

    def to_send(self, plan: Repository, known: Repository) -> set[Id]:
        return self.reach(plan, plan.records) & plan.objects.keys()


class TrustReleases(Sharing):
    """Believe that a release on the target has its closure there."""

    def to_send(self, plan: Repository, known: Repository) -> set[Id]:
        there = [r for r, record in plan.records.items() if record.release in self.seen.objects]
        return super().to_send(plan, known) - self.reach(plan, there)

    def push(self, work: Repository, bare: Repository) -> Iterator[None]:
        self.seen = self.shared(bare)
        yield from super().push(work, bare)


class NeverLookAgain(Sharing):
    """Do not check, after the records, that what they name is still there."""

    def push(self, work: Repository, bare: Repository) -> Iterator[None]:
        def once(plan: Repository, known: Repository) -> set[Id]:
            return set() if known is not plan else Sharing.to_send(self, plan, known)

        self.to_send = once  # type: ignore[method-assign]
        yield from super().push(work, bare)


class PullReveals(Sharing):
    """Forget a tombstone when its item comes again."""

    def pull(self, work: Repository, bare: Repository) -> Iterator[None]:
        yield from super().pull(work, bare)
        work.tombstones -= bare.objects.keys()


class StrictUnions(Sharing):
    """Let a union count though a next version has followed all it unites."""

    def heads(self, repo: Repository, name: Name, *, whole: bool = False) -> list[Id]:
        counted = (r for r in repo.named(name) if self.counts(repo, r))
        return sorted(
            self.newest(repo, (r for r in counted if not (whole and self.missing(repo, r))))
        )


class YankAnything(Sharing):
    """Yank unions and take-backs."""

    def yank(self, repo: Repository, record: Id) -> None:
        repo.yanks.add(record)


class PruneOldVersions(Sharing):
    """Prune what no head has."""

    def prune(self, bare: Repository) -> None:
        heads = [head for name in bare.names() for head in self.heads(bare, name)]
        kept = set().union(*(bare.content(head) for head in heads))
        for i, item in list(bare.objects.items()):
            if isinstance(item, Item) and item.kind == "episode" and i not in kept:
                del bare.objects[i]
