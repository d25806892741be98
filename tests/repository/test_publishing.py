"""A name gets its next revision: united, in conflict, taken back, at once, and with failures."""

from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.faults import (
    FailingFileSystem,
    HastyFileSystem,
    Killed,
    RecordingFileSystem,
    each_step,
    full_disk,
)
from tests.odb.samples import abandon, id_of
from tests.repository.labs import BENCHMARKS, WALK, Lab, episode, raw
from tupli_repo.errors import ConflictError, InvalidInputError, NotFoundError, StorageIOError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.repository.published.publishing import Offer
from tupli_repo.repository.published.sets import digest_of, sets_of


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "a")


def two(tmp_path: Path) -> tuple[Lab, Lab]:
    return Lab(tmp_path / "a"), Lab(tmp_path / "b")


# ---- a few of those histories, told


def test_what_two_publish_apart_is_united_and_both_make_the_same_bytes(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    a.publish([episode(1)])
    b.receive(a)
    a.publish([episode(2)])
    b.publish([episode(3)], user="bob")
    for lab, other in ((a, b), (b, a)):
        lab.receive(other)
        assert len(lab.held()) == 2
    for lab in (a, b):
        (union,) = lab.publisher.unite(WALK)
        assert lab.publisher.unite(WALK) == []
        assert (union.body.created_by, union.body.message) == ("", "")
        assert lab.held() == [raw(map(episode, (1, 2, 3)))]
    assert refs_of(a) == refs_of(b)


def test_what_one_took_back_stays_away_and_what_another_added_stays(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    a.publish([episode(1), episode(2)])
    b.receive(a)
    a.unpublish([episode(1)])
    b.publish([episode(1), episode(3)])
    a.receive(b)
    a.publisher.unite(WALK)
    assert a.held() == [raw(map(episode, (2, 3)))]
    a.publish([episode(1)])
    assert a.held() == [raw(map(episode, (1, 2, 3)))]


def test_another_benchmark_is_the_next_version_and_diverged_ones_are_a_conflict(
    tmp_path: Path,
) -> None:
    a, b = two(tmp_path)
    first = a.publish([episode(1)])
    b.receive(a)
    a.publish([episode(2, 1)], benchmark=1)
    assert a.held() == [raw([episode(2, 1)])]
    b.publish([episode(3)])
    a.receive(b)
    with pytest.raises(ConflictError, match="'one' has diverged in group 'global'") as told:
        a.publish([episode(4)])
    assert "--as-next" in told.value.hint
    assert len(a.held()) == 2
    a.publish([episode(4)], as_next=True)
    assert a.held() == [raw(map(episode, (1, 3, 4)))]
    assert first in a.releases.history(WALK).below(a.releases.heads(WALK)[0].hash)


def test_publishing_the_same_again_makes_nothing(lab: Lab) -> None:
    first = lab.publish([episode(1)], message="hello")
    assert lab.publish([episode(1)]) == first
    assert lab.publish([], message="hello") == first
    assert lab.publish([], message="other") != first
    assert len(lab.releases.views(WALK)) == 2


def test_taking_back_all_hides_the_benchmark_until_it_is_published_again(lab: Lab) -> None:
    lab.publish([episode(1)])
    (view,) = lab.publisher.unpublish(WALK, episodes=None, user="ada")
    assert view.body.is_retracted
    assert (lab.releases.shown(), lab.releases.groups_of()) == ([], {})
    with pytest.raises(NotFoundError):
        lab.publisher.unpublish(WALK, episodes=None, user="ada")
    lab.publish([])
    assert lab.held() == [frozenset()]
    assert lab.releases.groups_of() == {id_of(BENCHMARKS[0]): ["global"]}


def test_what_another_added_meanwhile_keeps_a_retracted_benchmark_there(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    a.publish([episode(1)])
    b.receive(a)
    a.publisher.unpublish(WALK, episodes=None, user="ada")
    b.publish([episode(2)])
    a.receive(b)
    (union,) = a.publisher.unite(WALK)
    assert not union.body.is_retracted
    assert a.held() == [raw([episode(2)])]


def test_a_union_carries_the_words_of_the_latest(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    a.publish([episode(1)])
    b.publish([episode(2)])
    head = b.releases.heads(WALK)[0]
    offer = Offer(title="One!", benchmarks=head.benchmarks, licence="MIT", message="licensed")
    b.publisher.publish(WALK, offer, user="bob")
    a.receive(b)
    (union,) = a.publisher.unite(WALK)
    assert (union.body.name, union.body.licence, union.body.message) == ("One!", "MIT", "")
    assert union.body.created_at == b.releases.heads(WALK)[0].body.created_at


def test_a_union_and_a_take_back_are_not_yanked(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    a.publish([episode(1)])
    b.publish([episode(2)])
    a.receive(b)
    (union,) = a.publisher.unite(WALK)
    a.unpublish([episode(1)])
    for view in (union, *a.releases.heads(WALK)):
        with pytest.raises(InvalidInputError, match=view.hash[:12]):
            a.publisher.yank(view, user="eve")


def test_pruned_episodes_do_not_hide_the_union_that_took_them_back(tmp_path: Path) -> None:
    """Each side took back what the other kept, so that no made revision is whole any more."""
    a, b = two(tmp_path)
    a.publish([episode(1), episode(2), episode(3)])
    b.receive(a)
    a.unpublish([episode(1)])
    b.unpublish([episode(2)])
    a.receive(b)
    a.publisher.unite(WALK)
    for gone in (episode(1), episode(2)):
        (a.root / ".tupli" / "objects" / id_of(gone)[:2] / id_of(gone)[2:]).unlink()
    again = Lab(a.root, make=False)
    assert again.held() == [raw([episode(3)])]


def refs_of(lab: Lab) -> dict[str, bytes]:
    root = lab.root / ".tupli" / "refs"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# ---- sets


@pytest.mark.parametrize("step", [1, 3, 10])
def test_there_are_few_sets_however_often_one_publishes(lab: Lab, step: int) -> None:
    sets: dict[ObjectId, frozenset[bytes]] = {}
    held = frozenset[bytes]()
    written = 0
    for n in range(300):
        held |= {sha256(f"{n} {i}".encode()).digest() for i in range(step)}
        made = sets_of(held, sets)
        assert frozenset().union(*(one.members for one in made)) == held
        assert sum(len(one.members) for one in made) == len(held)
        assert len(made) <= len(held).bit_length()
        written += sum(len(one.members) for one in made if one.id is None)
        sets = {ObjectId(digest_of(one.members)): one.members for one in made}
    assert written <= len(held) * len(held).bit_length()


def test_many_equal_sets_become_few() -> None:
    ids = [sha256(b"%d" % n).digest() for n in range(64)]
    old = {ObjectId(digest_of([one])): frozenset([one]) for one in ids}
    assert len(sets_of(frozenset(ids), old)) <= 7
    assert sets_of(frozenset(ids), old) == sets_of(frozenset(ids), dict(reversed(old.items())))


def test_an_old_set_is_kept_where_it_fits(lab: Lab) -> None:
    some = raw(episode(n) for n in range(20))
    old = {ObjectId("a" * 64): frozenset(sorted(some)[:18])}
    assert [one.id for one in sets_of(some, old)] == [ObjectId("a" * 64), None]
    assert all(one.id is None for one in sets_of(some - {min(some)}, old))


# ---- what fails on the way


@pytest.mark.parametrize("fault", [Killed, full_disk])
def test_publishing_that_fails_anywhere_leaves_the_name_as_it_was(tmp_path: Path, fault) -> None:
    old, both = raw([episode(1)]), raw([episode(1), episode(2)])
    for attempt in each_step(fault):
        root = tmp_path / str(attempt.step)
        first = Lab(root)
        first.publish([episode(1)])
        first.store.write(episode(2))
        lab = Lab(root, attempt.fs, make=False)
        with attempt:
            lab.publish([episode(2)])
        abandon(lab.store)
        left = Lab(root, make=False)
        assert left.held() in ([old], [both])
        if isinstance(attempt.error, BaseException):
            left.publish([episode(2)])
        assert left.held() == [both]
        heads = left.releases.heads(WALK)
        assert [head.record.generation for head in heads] == [2]
        assert left.refs.strangers() == []


@pytest.mark.parametrize("fault", [Killed, full_disk])
def test_taking_back_that_fails_anywhere_is_done_or_not(tmp_path: Path, fault) -> None:
    old, less = raw([episode(1), episode(2)]), raw([episode(2)])
    for attempt in each_step(fault):
        root = tmp_path / str(attempt.step)
        Lab(root).publish([episode(1), episode(2)])
        lab = Lab(root, attempt.fs, make=False)
        with attempt:
            lab.unpublish([episode(1)])
        abandon(lab.store)
        left = Lab(root, make=False)
        assert left.held() in ([old], [less])
        left.unpublish([episode(1)])
        assert left.held() == [less]


def test_what_a_record_names_is_durable_before_the_record_is_there(lab: Lab) -> None:
    fs = RecordingFileSystem()
    Lab(lab.root, fs, make=False).publish([episode(1)])
    changes = fs.changes()
    named = next(n for n, (name, path) in enumerate(changes) if name == "link")
    assert "refs" in changes[named][1].parts
    before = [path for name, path in changes[:named] if name == "rename"]
    assert len([path for path in before if "objects" in path.parts]) == 3  # episode, set, release
    for path in before:
        assert ("fsync_folder", path.parent) in changes[:named]


def test_a_full_disk_tells_and_leaves_nothing_half_written(lab: Lab) -> None:
    full = Lab(lab.root, FailingFileSystem(1, full_disk(), lasting=True), make=False)
    abandon(full.store)
    with pytest.raises(StorageIOError, match="no space left"):
        full.publisher.publish(
            WALK, Offer(title="one", benchmarks=(id_of(BENCHMARKS[0]),)), user="ada"
        )
    assert refs_of(lab) == {}


class _Cleaner(HastyFileSystem):
    """Removes a file, as gc does, at the moment in which a record gets its name."""

    def __init__(self, gone: Path) -> None:
        self.gone = gone

    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        if "refs" in target.parts:
            self.gone.unlink()


def test_what_a_cleaner_took_while_it_was_published_is_told(lab: Lab) -> None:
    lab.store.write(episode(1))
    oid = id_of(episode(1))
    path = lab.root / ".tupli" / "objects" / oid[:2] / oid[2:]
    hurried = Lab(lab.root, _Cleaner(path), make=False)
    offer = Offer(title="one", benchmarks=(id_of(BENCHMARKS[0]),), episodes=raw([episode(1)]))
    with pytest.raises(NotFoundError, match="names what is no longer here"):
        hurried.publisher.publish(WALK, offer, user="ada")
    assert lab.held() == []
    lab.store.write(episode(1))
    assert lab.held() == [raw([episode(1)])]


def test_a_set_that_a_cleaner_took_is_written_again(lab: Lab) -> None:
    lab.store.write(episode(1))
    made = Object(kind=Kind.EPISODES, links=(id_of(episode(1)),))
    oid = id_of(made)
    hurried = Lab(lab.root, _Cleaner(lab.root / ".tupli/objects" / oid[:2] / oid[2:]), make=False)
    offer = Offer(title="one", benchmarks=(id_of(BENCHMARKS[0]),), episodes=raw([episode(1)]))
    hurried.publisher.publish(WALK, offer, user="ada")
    assert lab.held() == [raw([episode(1)])]


# ---- many at once


def _publish(root: Path, number: int, ready: Any) -> None:
    lab = Lab(root, make=False)
    lab.store.write(episode(number))
    ready.wait()  # from here on nobody sees what the others do
    lab.publish([episode(number)], user=str(number))


def test_sixteen_processes_publish_one_name_at_once_and_the_next_head_holds_all(lab: Lab) -> None:
    context = get_context("fork")
    ready = context.Barrier(16)
    running = [context.Process(target=_publish, args=(lab.root, n, ready)) for n in range(16)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0] * 16
    lab.releases.refresh()
    assert len(lab.refs.records(WALK)) == 16
    assert len(lab.held()) == 16
    lab.publish([episode(16)])
    assert lab.held() == [raw(map(episode, range(17)))]
    assert len(lab.refs.records(WALK)) == 18  # the union, and the next
