"""The model of names and sharing keeps its promises, and flawed ones are found out."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from tests.sharing import flaws
from tests.sharing.machine import (
    NAMES,
    HistoryMachine,
    SharingMachine,
    WireMachine,
    finish,
)
from tests.sharing.model import ConflictError, Id, Item, RefusedError, Release, Repository, Sharing

NAME = NAMES[0]

QUICK = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SEARCH = settings(
    QUICK,
    max_examples=4000,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
)


def run(machine: type[SharingMachine], how: settings, flaw: type[Sharing] = Sharing) -> None:
    run_state_machine_as_test(type("Machine", (machine,), {"flaw": flaw}), settings=how)


@pytest.mark.parametrize("machine", [SharingMachine, HistoryMachine, WireMachine])
def test_the_model_keeps_its_promises(machine: type[SharingMachine]) -> None:
    run(machine, settings(QUICK, max_examples=70))


@pytest.mark.slow
@pytest.mark.parametrize("machine", [SharingMachine, HistoryMachine, WireMachine])
def test_the_model_keeps_its_promises_for_long(machine: type[SharingMachine]) -> None:
    run(machine, settings(QUICK, max_examples=10_000, stateful_step_count=50))


@pytest.mark.parametrize(
    ("flaw", "machine"),
    [
        (flaws.UnionOnly, HistoryMachine),
        (flaws.SingleBase, HistoryMachine),
        (flaws.SignedUnions, HistoryMachine),
        pytest.param(flaws.YankAnything, HistoryMachine, marks=pytest.mark.slow),
        pytest.param(flaws.StrictUnions, HistoryMachine, marks=pytest.mark.slow),
        (flaws.RefsFirst, WireMachine),
        (flaws.ChildrenFirst, WireMachine),
        (flaws.SendTakenBack, WireMachine),
        pytest.param(flaws.TrustReleases, WireMachine, marks=pytest.mark.slow),
        pytest.param(flaws.NeverLookAgain, WireMachine, marks=pytest.mark.slow),
        pytest.param(flaws.PruneOldVersions, WireMachine, marks=pytest.mark.slow),
        (flaws.SendNeighbours, SharingMachine),
        (flaws.SendPins, SharingMachine),
        (flaws.PullReveals, SharingMachine),
    ],
)
def test_a_flawed_model_is_found_out(flaw: type[Sharing], machine: type[SharingMachine]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        run(machine, SEARCH, flaw)


class Lab:
    """A repository with two benchmarks, and words to write histories in."""

    def __init__(self, sharing: Sharing, who: str = "ada") -> None:
        self.sharing, self.who, self.repo = sharing, who, Repository()
        self.benchmarks = [sharing.store(self.repo, Item("benchmark", f"b{n}")) for n in range(2)]

    def record(self, label: str, which: int = 0) -> Id:
        return self.sharing.store(self.repo, Item("episode", label, (self.benchmarks[which],)))

    def publish(self, labels: str, which: int = 0, *, as_next: bool = False) -> Id:
        episodes = tuple(sorted(self.record(label, which) for label in labels))
        wish = Release(NAME, self.benchmarks[which], episodes, who=self.who)
        return self.sharing.publish(self.repo, wish, as_next=as_next)

    def unpublish(self, labels: str, which: int = 0) -> list[Id]:
        back = [self.record(label, which) for label in labels]
        return self.sharing.unpublish(self.repo, NAME, back, self.who)

    def pull(self, other: "Lab | Repository") -> None:
        source = other.repo if isinstance(other, Lab) else other
        finish(self.sharing.pull(self.repo, source))

    def push(self, bare: Repository) -> None:
        finish(self.sharing.push(self.repo, bare))

    def sees(self) -> list[str]:
        return [shown(self.repo, head) for head in self.sharing.heads(self.repo, NAME)]


def shown(repo: Repository, record: Id) -> str:
    return "".join(sorted(_label(repo, episode) for episode in repo.content(record)))


def _label(repo: Repository, episode: Id) -> str:
    item = repo.objects[episode]
    assert isinstance(item, Item)
    return item.body


def labs(count: int, sharing: Sharing | None = None) -> list[Lab]:
    known = sharing or Sharing()
    return [Lab(known, who) for who in ("ada", "bob", "cyd")[:count]]


labels = st.text("abcdefg", max_size=7).map(lambda text: "".join(sorted(set(text))))


@given(base=labels, added=st.tuples(labels, labels), taken=st.tuples(labels, labels))
def test_two_heads_unite_as_both_less_what_either_took_back(
    base: str, added: tuple[str, str], taken: tuple[str, str]
) -> None:
    ada, bob = labs(2)
    ada.publish(base)
    bob.pull(ada)
    for lab, more, less in zip((ada, bob), added, taken, strict=True):
        lab.publish(more)
        if gone := set(less) & set(base):
            lab.unpublish("".join(gone))
    one, other = set(ada.sees()[0]), set(bob.sees()[0])
    ada.pull(bob)
    assert set(ada.sees()[0]) == (one | other) - (set(base) - one) - (set(base) - other)


def criss_cross(sharing: Sharing) -> str:
    """Let two people unite x and y apart; then one takes both back."""
    ada, bob, cyd = labs(3, sharing)
    ada.publish("")
    bob.pull(ada)
    ada.publish("x")
    bob.publish("y")
    cyd.pull(ada)
    cyd.pull(bob)  # x and y
    cyd.unpublish("xy")
    ada.publish("g")
    ada.pull(bob)  # x with g, and y
    ada.pull(cyd)
    return ada.sees()[0]


def test_one_common_ancestor_is_not_enough_for_histories_that_criss_cross() -> None:
    assert criss_cross(Sharing()) == "g"
    assert criss_cross(flaws.SingleBase()) != "g"


def test_unions_made_apart_are_the_same_record() -> None:
    ada, bob = labs(2)
    ada.publish("a")
    bob.publish("b")
    before = Repository(dict(ada.repo.objects), dict(ada.repo.records))
    ada.pull(bob)
    bob.pull(before)
    assert ada.repo.records == bob.repo.records


def test_a_union_does_not_come_up_against_a_version_that_has_followed_its_parts() -> None:
    ada, bob, cyd = labs(3)
    ada.publish("a")
    bob.publish("b")
    cyd.publish("c")
    for lab in (ada, bob):
        cyd.pull(lab)
    cyd.publish("n", 1)
    bob.pull(ada)
    assert bob.sees() == ["ab"]
    bob.pull(cyd)
    assert bob.sees() == ["n"]


def test_a_yank_has_one_effect_before_and_after_a_union() -> None:
    for late in (False, True):
        ada, bob = labs(2)
        ada.publish("a")
        bob.pull(ada)
        bad = ada.publish("z")
        bob.publish("b")
        if late:
            bob.pull(ada)
            assert bob.sees() == ["abz"]
        ada.sharing.yank(ada.repo, bad)
        bob.pull(ada)
        assert bob.sees() == ["ab"]


def test_what_would_come_back_cannot_be_yanked() -> None:
    ada, bob = labs(2)
    ada.publish("a")
    bob.publish("b")
    ada.pull(bob)
    [union] = ada.sharing.heads(ada.repo, NAME)
    [back] = ada.unpublish("a")
    for record in (union, back):
        with pytest.raises(RefusedError):
            ada.sharing.yank(ada.repo, record)


def test_versions_that_part_are_a_conflict_until_somebody_says_which_is_next() -> None:
    ada, bob = labs(2)
    ada.publish("a")
    bob.pull(ada)
    ada.publish("n", 1)
    bob.publish("b")
    bob.pull(ada)
    with pytest.raises(ConflictError):
        bob.publish("c")
    assert sorted(bob.sees()) == ["ab", "n"]
    bob.publish("c", as_next=True)
    assert bob.sees() == ["abc"]


def test_a_take_back_reaches_the_other_side_of_a_conflict() -> None:
    ada, bob = labs(2)
    ada.publish("as")
    bob.pull(ada)
    ada.publish("n", 1)
    bob.publish("b")
    ada.unpublish("s")  # out of the version before
    bob.pull(ada)
    assert sorted(bob.sees()) == ["ab", "n"]


def test_what_is_taken_back_before_the_first_push_never_leaves() -> None:
    ada, bare = Lab(Sharing()), Repository()
    first = ada.publish("as")
    ada.unpublish("s")
    ada.push(bare)
    assert first in bare.records
    assert ada.record("s") not in bare.objects
    assert ada.record("a") in bare.objects


def test_what_is_pruned_is_not_sent_again_but_can_be_published_again() -> None:
    ada, bob = labs(2)
    bare = Repository()
    ada.publish("as")
    ada.push(bare)
    bob.pull(bare)
    bob.publish("b")
    ada.unpublish("s")
    ada.push(bare)
    ada.sharing.prune(bare)
    secret = ada.record("s")
    bob.push(bare)
    assert secret not in bare.objects
    bob.pull(bare)
    bob.publish("s")
    bob.push(bare)
    assert secret in bare.objects
    cyd = Lab(ada.sharing)
    cyd.pull(bare)
    assert cyd.sees() == ["abs"]


def torn(lab: Lab, bare: Repository) -> None:
    """Die after the record, where the drive was cleaned just before it."""
    pushing = lab.sharing.push(lab.repo, bare)
    swept = False
    while not bare.records:
        next(pushing)
        if not swept and any(isinstance(item, Release) for item in bare.objects.values()):
            lab.sharing.sweep(bare)
            swept = True


def test_a_record_whose_release_is_gone_is_seen_by_nobody_until_its_push_is_repeated() -> None:
    ada, bob = labs(2)
    bare = Repository()
    ada.publish("a")
    torn(ada, bare)
    bob.pull(bare)
    assert bare.records
    assert not bob.repo.records
    ada.push(bare)
    bob.pull(bare)
    assert bob.sees() == ["a"]


def test_the_last_look_of_a_push_remembers_what_gc_made_the_drive_forget() -> None:
    ada, bare = Lab(Sharing()), Repository()
    ada.publish("as")
    ada.unpublish("s")
    pushing = ada.sharing.push(ada.repo, bare)
    for step, _ in enumerate(pushing):
        if step == 5:
            ada.sharing.sweep(bare)
    assert ada.record("s") not in bare.objects
    assert ada.record("a") in bare.objects


def test_of_a_name_that_is_not_whole_nothing_is_pulled() -> None:
    ada, bob = labs(2)
    bare = Repository()
    ada.publish("a")
    ada.push(bare)
    bob.pull(bare)
    ada.publish("b")
    ada.push(bare)
    del bare.objects[ada.record("b")]
    bob.pull(bare)
    assert bob.sees() == ["a"]
    ada.push(bare)
    bob.pull(bare)
    assert bob.sees() == ["ab"]


def test_what_a_revision_names_outlives_its_removal_and_stays_hidden() -> None:
    ada, bob = labs(2)
    ada.publish("a")
    episode = ada.record("a")
    loose = ada.record("z")
    ada.repo.tombstones |= {episode, loose}
    ada.sharing.collect(ada.repo)
    assert ada.sees() == ["a"]
    assert loose not in ada.repo.objects
    bob.pull(ada)
    bob.publish("b")
    ada.pull(bob)
    assert ada.sees() == ["ab"]
    assert episode not in ada.sharing.listed(ada.repo, "episode")


def test_an_old_version_outlives_prune() -> None:
    ada, bare = Lab(Sharing()), Repository()
    first = ada.publish("a")
    ada.publish("n", 1)
    ada.push(bare)
    ada.sharing.prune(bare)
    assert shown(bare, first) == "a"


def test_what_a_yanked_version_is_taken_back_with_does_not_bring_back_what_others_took() -> None:
    ada, bob = labs(2)
    ada.publish("ab")
    bob.pull(ada)
    bad = ada.publish("z", 1)
    ada.sharing.yank(ada.repo, bad)
    ada.unpublish("z", 1)  # on the yanked version and on what stands for it
    assert ada.sees() == ["ab"]
    bob.unpublish("a")
    ada.pull(bob)
    assert ada.sees() == ["b"]
