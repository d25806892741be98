"""What is published is read as it was written; what is damaged is told; what is not here waits."""

import shutil
from pathlib import Path

import pytest

from tests.odb.samples import id_of
from tests.repository.labs import BENCHMARKS, WALK, Lab, episode, raw
from tupli_repo.codec.records import ReleaseBody
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.refs import Record, RefName
from tupli_repo.repository.published.publishing import Offer
from tupli_repo.repository.published.sets import digest_of, set_object


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "a")


def loose(lab: Lab, oid: ObjectId) -> Path:
    return lab.root / ".tupli" / "objects" / oid[:2] / oid[2:]


def test_a_release_links_what_it_names_in_order(lab: Lab) -> None:
    lab.publish([episode(1), episode(2)])
    lab.unpublish([episode(2)])
    (view,) = lab.releases.heads(WALK)
    obj = lab.store.read(view.record.release)
    assert obj.kind is Kind.RELEASE
    sets, taken = obj.links[1:-1], lab.store.read(obj.links[-1])
    assert obj.links[0] == id_of(BENCHMARKS[0])
    assert sets == (id_of(set_object(raw([episode(1)]))),)
    assert taken == Object(kind=Kind.BLOB, body=bytes.fromhex(id_of(episode(2))))
    assert (view.body.n_benchmarks, view.body.n_episodes, view.body.n_withdrawn) == (1, 1, 1)
    assert view.body.digest == digest_of(raw([episode(1)]))
    assert lab.releases.withdrawn(view) == raw([episode(2)])


def test_an_item_tells_what_became_of_a_revision(lab: Lab) -> None:
    first = lab.publish([episode(1)], message="first")
    second = lab.publish([episode(2)])
    views = lab.releases.views(WALK)
    old, new = lab.releases.item(views[first]), lab.releases.item(views[second])
    assert (old.message, old.n_added, old.n_episodes, old.is_head) == ("first", 1, 1, False)
    assert (new.parents, new.n_added, new.n_episodes, new.is_head) == ((first,), 1, 2, True)
    lab.publisher.yank(views[second], user="eve", why="wrong")
    assert lab.releases.item(views[second]).yanked == "wrong"
    assert lab.releases.item(views[first]).is_head
    loose(lab, id_of(episode(1))).unlink()
    lab.releases.refresh()
    assert lab.releases.item(views[first]).pending


@pytest.mark.parametrize("what", ["release", "set", "episode", "benchmark", "withdrawn"])
def test_a_half_finished_copy_reads_as_before_until_the_rest_comes(
    lab: Lab, tmp_path: Path, what: str
) -> None:
    lab.publish([episode(1), episode(3)])
    copy = Lab(tmp_path / "b")
    copy.receive(lab)
    lab.publish([episode(2, 1)], benchmark=1)
    lab.unpublish([episode(2, 1)])
    lab.publish([episode(4, 1)], benchmark=1)
    (view,) = lab.releases.heads(WALK)
    taking = lab.releases.views(WALK)[view.record.parents[0]]
    missing = {
        "release": view.record.release,
        "set": view.sets[0],
        "episode": id_of(episode(4, 1)),
        "benchmark": view.benchmarks[0],
        "withdrawn": taking.withdrawn,
    }[what]
    assert missing is not None
    copy.receive(lab)
    path = loose(copy, missing)
    shutil.move(path, tmp_path / "on the way")
    late = Lab(copy.root, make=False)
    seen = late.held()
    assert raw([episode(4, 1)]) not in seen
    if what == "benchmark":
        assert seen == [raw([episode(1), episode(3)])]
    shutil.move(tmp_path / "on the way", path)
    assert late.held() == [raw([episode(4, 1)])]


def test_a_record_whose_parent_has_not_come_waits(lab: Lab, tmp_path: Path) -> None:
    lab.publish([episode(1)])
    lab.publish([episode(2)])
    copy = Lab(tmp_path / "b")
    copy.receive(lab)
    (first,) = (r for r in lab.refs.records(WALK).values() if r.generation == 1)
    copy.refs.path_of(first).unlink()
    copy.releases.refresh()
    assert (copy.held(), copy.releases.pending(WALK)) == ([], 1)
    copy.receive(lab)
    assert (copy.held(), copy.releases.pending(WALK)) == (
        [raw([episode(1), episode(2)])],
        0,
    )


def test_local_names_are_shown_nowhere(lab: Lab) -> None:
    lab.publish([episode(1)], RefName("local", "dataset", "pin"))
    assert lab.releases.shown() == []
    assert lab.releases.groups_of_episodes() == {}


def test_groups_tell_where_something_is_published(lab: Lab) -> None:
    lab.publish([episode(1)])
    lab.publish([episode(2)], RefName("lab", "benchmark", "walk"))
    artifact = lab.store.write(Object(kind=Kind.ARTIFACT, body=b"{}"))
    name = RefName("lab", "artifact", "wind")
    lab.publisher.publish(name, Offer(title="wind", artifacts=(artifact,)), user="ada")
    assert lab.releases.groups_of() == {
        id_of(BENCHMARKS[0]): ["global", "lab"],
        artifact: ["lab"],
    }
    sets = lab.releases.groups_of_episodes()
    assert {g: [lab.releases.members(one) for one in ids] for g, ids in sets.items()} == {
        "global": [raw([episode(1)])],
        "lab": [raw([episode(2)])],
    }


# ---- damage


def put(lab: Lab, obj: Object, *, generation: int = 1, parents: tuple[str, ...] = ()) -> None:
    lab.refs.put(Record(WALK, generation, parents, lab.store.write(obj)))
    lab.releases.refresh()


def release(*links: ObjectId, **changes: object) -> Object:
    fields = {
        "name": "one",
        "group": "global",
        "kind": "benchmark",
        "created_by": "eve",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "n_benchmarks": 1,
        "digest": "0" * 64,
    }
    body = ReleaseBody.model_validate(fields | changes)
    return Object(kind=Kind.RELEASE, links=links or (id_of(BENCHMARKS[0]),), body=body.dump())


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (Object(kind=Kind.BLOB, body=b"x"), "it is a blob"),
        (Object(kind=Kind.RELEASE, body=b"{}"), "malformed"),
        (Object(kind=Kind.RELEASE, body=b"["), "is damaged"),
        (release(group="lab"), "it is not of 'global/benchmark/one'"),
        (release(kind="dataset"), "it is not of 'global/benchmark/one'"),
        (release(n_benchmarks=0), "it lacks a link"),
        (release(n_artifacts=1), "it lacks a link"),
        (release(n_withdrawn=1, n_provenance=0), "it lacks a link"),
        (release(*[id_of(BENCHMARKS[0])] * 2, n_withdrawn=1), "take back what it says"),
    ],
    ids=range(9),
)
def test_a_release_that_lies_is_told(lab: Lab, obj: Object, why: str) -> None:
    put(lab, obj)
    with pytest.raises(CorruptObjectError, match=why):
        lab.releases.heads(WALK)


def test_a_release_that_counts_wrong_is_told(lab: Lab) -> None:
    put(lab, release(n_episodes=5))
    (view,) = lab.releases.heads(WALK)
    with pytest.raises(CorruptObjectError, match="does not have the episodes it says"):
        lab.releases.episodes(view)


def test_a_set_that_is_none_is_told(lab: Lab) -> None:
    put(lab, release(id_of(BENCHMARKS[0]), id_of(BENCHMARKS[1]), n_episodes=1))
    with pytest.raises(CorruptObjectError, match="is a benchmark, not a set of episodes"):
        lab.releases.current(WALK)


def test_a_generation_that_does_not_follow_is_told(lab: Lab) -> None:
    first = lab.publish([episode(1)])
    put(lab, release(message="later"), generation=7, parents=(first,))
    with pytest.raises(CorruptObjectError, match="its generation does not follow its parents"):
        lab.releases.heads(WALK)
