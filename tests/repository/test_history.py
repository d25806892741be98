"""The history of a name is what the model of sharing says, and is fast."""

import shutil
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.odb.samples import id_of
from tests.repository.labs import BENCHMARKS, NAMES, Lab, episode
from tests.sharing import model
from tupli_repo.errors import ConflictError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Object, ObjectId
from tupli_repo.odb.refs import RefName
from tupli_repo.repository.published.history import History, Revision, in_order
from tupli_repo.repository.published.sets import digest_of


class ModelMachine(RuleBasedStateMachine):
    """Two real repositories and two of the model; the same is done to both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.labs = [Lab(self.folder / name) for name in "ab"]
        self.works = [model.Repository() for _ in "ab"]
        self.sharing = model.Sharing()
        self.number = 0
        self.episodes: list[Object] = []
        self.names = [model.Name(*name) for name in NAMES]
        self.benchmarks = [model.Item("benchmark", str(n)) for n in range(2)]
        for work in self.works:
            for benchmark in self.benchmarks:
                self.sharing.store(work, benchmark)

    def item(self, obj: Object) -> model.Item:
        benchmark = self.benchmarks[obj.links[0] == id_of(BENCHMARKS[1])]
        return model.Item("episode", id_of(obj), (model.identify(benchmark),))

    def chosen(self, bits: int) -> list[Object]:
        return [one for n, one in enumerate(self.episodes[-8:]) if bits >> n & 1]

    @rule(benchmark=st.sampled_from([0, 0, 0, 1]))
    def record(self, benchmark: int) -> None:
        self.episodes.append(episode(len(self.episodes), benchmark))

    @rule(
        who=st.integers(0, 1),
        which=st.sampled_from([0, 0, 0, 1]),
        bits=st.integers(0, 255),
        benchmark=st.sampled_from([0, 0, 0, 1]),
        as_next=st.booleans(),
    )
    def publish(self, who: int, which: int, bits: int, benchmark: int, as_next: bool) -> None:
        lab, work, user = self.labs[who], self.works[who], self.user()
        some = [one for one in self.chosen(bits) if one.links[0] == id_of(BENCHMARKS[benchmark])]
        items = [self.sharing.store(work, self.item(one)) for one in some]
        if not some and NAMES[which].kind == "dataset":
            return  # there is none without episodes
        subject = model.identify(self.benchmarks[benchmark])
        wish = model.Release(self.names[which], subject, tuple(sorted(items)), who=user)
        try:
            self.sharing.publish(work, wish, as_next=as_next)
        except model.ConflictError:
            with pytest.raises(ConflictError):
                lab.publish(some, NAMES[which], benchmark=benchmark, user=user)
        else:
            lab.publish(some, NAMES[which], benchmark=benchmark, user=user, as_next=as_next)

    @rule(who=st.integers(0, 1), which=st.integers(0, 1), bits=st.integers(1, 255))
    def unpublish(self, who: int, which: int, bits: int) -> None:
        lab, work, user = self.labs[who], self.works[who], self.user()
        here = work.named(self.names[which])
        known = set().union(*(work.content(r) for r in here))
        some = [one for one in self.chosen(bits) if model.identify(self.item(one)) in known]
        if some:
            items = [model.identify(self.item(one)) for one in some]
            self.sharing.unpublish(work, self.names[which], items, user)
            lab.unpublish(some, NAMES[which], user=user)
        else:
            self.sharing.unite(work, self.names[which])
            with pytest.raises(NotFoundError):
                lab.unpublish([episode(10**6)], NAMES[which])

    @rule(who=st.integers(0, 1), which=st.integers(0, 1))
    def unite(self, who: int, which: int) -> None:
        self.sharing.unite(self.works[who], self.names[which])
        self.labs[who].publisher.unite(NAMES[which])

    @rule(who=st.integers(0, 1), which=st.integers(0, 1), pick=st.integers(0, 99))
    def yank(self, who: int, which: int, pick: int) -> None:
        lab, work = self.labs[who], self.works[who]
        views = lab.releases.views(NAMES[which])
        if not views:
            return
        view = views[sorted(views)[pick % len(views)]]
        told = self.told(lab, NAMES[which])
        modelled = {self.modelled(work, r): r for r in work.named(self.names[which])}
        try:
            self.sharing.yank(work, modelled[told[view.hash]])
        except model.RefusedError:
            with pytest.raises(InvalidInputError):
                lab.publisher.yank(view, user="eve")
        else:
            lab.publisher.yank(view, user="eve", why="wrong")

    @rule(who=st.integers(0, 1))
    def copy(self, who: int) -> None:
        ours, theirs = self.works[who], self.works[1 - who]
        ours.objects |= theirs.objects
        ours.records |= theirs.records
        ours.yanks |= theirs.yanks
        self.labs[who].receive(self.labs[1 - who])

    @rule(who=st.integers(0, 1), pick=st.integers(0, 99))
    def lose(self, who: int, pick: int) -> None:
        """The data of an episode that was taken back goes, as after a prune."""
        work = self.works[who]
        gone = sorted(self.sharing.withdrawn(work) & work.objects.keys())
        if gone:
            item = work.objects.pop(gone[pick % len(gone)])
            assert isinstance(item, model.Item)
            path = self.labs[who].root / ".tupli" / "objects" / item.body[:2] / item.body[2:]
            path.unlink()
            self.labs[who].releases.refresh()

    @invariant()
    def both_agree(self) -> None:
        for lab, work in zip(self.labs, self.works, strict=True):
            for name, modelled in zip(NAMES, self.names, strict=True):
                told = self.told(lab, name)
                here = work.named(modelled)
                assert set(told.values()) == {self.modelled(work, r) for r in here}
                for real, expected in (
                    (lab.releases.heads(name), self.sharing.heads(work, modelled)),
                    (lab.releases.current(name), self.sharing.heads(work, modelled, whole=True)),
                ):
                    assert {told[view.hash] for view in real} == {
                        self.modelled(work, r) for r in expected
                    }
                history = lab.releases.history(name)
                for r in here:
                    (one,) = [h for h, text in told.items() if text == self.modelled(work, r)]
                    assert len(history.added(one)) == len(self.sharing.added(work, r))
                survivors = self.sharing.survivors(work, here, here)
                assert len(history.survivors()) == len(survivors)

    def user(self) -> str:
        self.number += 1
        return f"user {self.number}"

    def told(self, lab: Lab, name: RefName) -> dict[str, str]:
        """What each revision is, said so that the model can say the same."""
        found: dict[str, str] = {}
        for one, view in lab.releases.views(name).items():
            found[one] = _said(
                (found[parent] for parent in view.record.parents),
                view.body.created_by,
                name.kind == "benchmark" and id_of(BENCHMARKS[1]) in view.benchmarks,
                (ep.hex() for ep in lab.releases.episodes(view)),
                (ep.hex() for ep in lab.releases.withdrawn(view)),
            )
            assert view.body.digest == digest_of(lab.releases.episodes(view))
        return found

    def modelled(self, work: model.Repository, record: str) -> str:
        release = work.release(record)
        return _said(
            (self.modelled(work, parent) for parent in work.records[record].parents),
            release.who,
            release.subject == (model.identify(self.benchmarks[1]),),
            map(self.body, release.episodes),
            map(self.body, release.withdrawn),
        )

    def body(self, item: str) -> str:
        known = {model.identify(self.item(one)): id_of(one) for one in self.episodes}
        return known[item]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


def _said(
    parents: Iterable[str], who: str, second: bool, held: Iterable[str], gone: Iterable[str]
) -> str:
    text = f"{sorted(parents)} {who} {second} {sorted(held)} {sorted(gone)}"
    return sha256(text.encode()).hexdigest()


CHECKS = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_real_repositories_do_what_the_model_says() -> None:
    run_state_machine_as_test(ModelMachine, settings=CHECKS)


@pytest.mark.slow
def test_real_repositories_do_what_the_model_says_in_thousands_of_histories() -> None:
    run_state_machine_as_test(
        ModelMachine, settings=settings(CHECKS, max_examples=1000, stateful_step_count=40)
    )


# ---- large ones


def chain(n_revisions: int, step: int) -> tuple[list[Revision], dict[ObjectId, frozenset[bytes]]]:
    """Return a name to which so many episodes were added so often, one set for each time."""
    revisions: list[Revision] = []
    sets: dict[ObjectId, frozenset[bytes]] = {}
    for n in range(n_revisions):
        members = frozenset(sha256(b"%d %d" % (n, i)).digest() for i in range(step))
        sets[ObjectId(f"{n:064x}")] = members
        parents = (revisions[-1].hash,) if revisions else ()
        revisions.append(Revision(f"r{n}", parents, True, "b", tuple(sets), withdrawn=frozenset()))
    return revisions, sets


def test_of_a_fork_nothing_below_is_looked_at() -> None:
    revisions, sets = chain(1000, 10)
    for side in ("x", "y"):
        own = frozenset([sha256(side.encode()).digest()])
        sets[ObjectId(side)] = own
        ours = (*revisions[999].sets, ObjectId(side))
        revisions.append(Revision(side, ("r999",), True, "b", ours, withdrawn=frozenset()))
    asked: list[ObjectId] = []

    def members(oid: ObjectId) -> frozenset[bytes]:
        asked.append(oid)
        return sets[oid]

    history = History(revisions, [], members)
    assert history.ends() == ["x", "y"]
    assert len(history.union(["x", "y"], "b")) == 10_002
    assert len(asked) < 1100


def test_a_long_history_that_ran_apart_is_united_by_what_was_added() -> None:
    revisions, sets = chain(300, 5)
    gone = min(sets[ObjectId(f"{5:064x}")])
    for side in "xy":
        parent = "r299"
        for n in range(200):
            one = f"{side}{n}"
            sets[ObjectId(one)] = frozenset([sha256(one.encode()).digest()])
            back = frozenset([gone]) if one == "y50" else frozenset[bytes]()
            ours = (*revisions[299].sets, *(ObjectId(f"{side}{m}") for m in range(n + 1)))
            revisions.append(Revision(one, (parent,), True, "b", ours, back))
            parent = one
    history = History(revisions, [], sets.__getitem__)
    union = history.union(["x199", "y199"], "b")
    assert len(union) == 300 * 5 + 400 - 1
    assert gone not in union


def test_a_record_without_its_ancestors_waits_for_them() -> None:
    assert in_order({"b": (2, ("a",)), "a": (1, ()), "d": (3, ("c",)), "e": (4, ("d",))}) == [
        "a",
        "b",
    ]


@pytest.mark.slow
def test_a_million_episodes_in_a_thousand_revisions_are_listed_in_seconds() -> None:
    revisions, sets = chain(1000, 1000)
    history = History(revisions, [], sets.__getitem__)
    assert history.ends() == ["r999"]
    assert len(history.content("r999")) == 10**6
    assert sum(len(history.added(r.hash)) for r in revisions) == 10**6
