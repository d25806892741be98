"""What is said of episodes after they were recorded: who sees it, and what it leaves alone."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import MemoryFileSystem
from tests.repository.people import benchmark, drive, opened, person, published, record
from tests.test_storage import episode
from tupli_repo import FileStorage, TupliDataset
from tupli_repo.codec.records import AnnotationBody
from tupli_repo.errors import EncodingError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind
from tupli_repo.repository import Repository
from tupli_repo.schema import (
    BaseFilter,
    FilterAND,
    FilterEQ,
    FilterGT,
    FilterIN,
    FilterLEQ,
    FilterNE,
    FilterOR,
)


@pytest.fixture
def ada(tmp_path: Path) -> Repository:
    return person(tmp_path / "ada", drive(tmp_path / "hub"))


def said_of(who: Repository, oid: str) -> dict[str, Any]:
    (header,) = who.episode_headers(FilterEQ(key="id", value=oid))
    return header.metadata


def matching(who: Repository, chosen: BaseFilter) -> set[str]:
    return {header.id for header in who.iter_episodes(chosen)}


@pytest.mark.parametrize("is_sealed", [False, True])
def test_headers_and_filters_see_it_at_once(ada: Repository, is_sealed: bool):
    one, two, three = record(ada, benchmark(ada), 3)
    if is_sealed:
        ada.close()
    assert ada.annotate([one, two[:9]], {"success": True, "n": 7}) == sorted([one, two])
    for who in (ada, opened(ada.root)):
        assert said_of(who, one) == {"n": 7, "success": True}
        assert said_of(who, three) == {"n": 2}
        assert matching(who, FilterEQ(key="metadata.success", value=True)) == {one, two}
        assert matching(who, FilterEQ(key="metadata.n", value=7)) == {one, two}
        assert matching(who, FilterNE(key="metadata.n", value=7)) == {three}
        assert matching(who, FilterEQ(key="metadata.n", value=1)) == set()
        assert matching(who, FilterEQ(key="metadata.n", value=2)) == {three}
        assert matching(who, FilterEQ(key="metadata", value={"n": 7, "success": True})) == {
            one,
            two,
        }
        good = FilterEQ(key="metadata.success", value=True)
        assert matching(who, good & FilterIN(key="id", value=[one, three])) == {one}
        assert who.count_episodes(FilterGT(key="metadata.n", value=1)) == {
            who.list_benchmarks()[0].id: 3
        }
        assert who.load_episode(one).metadata == {"n": 7, "success": True}
        assert {h.id: h.metadata["n"] for h in who.list_episodes()} == {one: 7, two: 7, three: 2}
        assert [item.metadata["n"] for item in who.list_episodes(include_tuples=True)] == [7, 7, 2]


def test_the_latest_counts_key_by_key_and_none_takes_back(ada: Repository):
    (one,) = record(ada, benchmark(ada))
    ada.annotate(one, {"n": 7, "quality": "good", "seen": [1, {"a": None}]})
    ada.annotate(one, {"quality": "bad"})
    assert said_of(ada, one) == {"n": 7, "quality": "bad", "seen": [1, {"a": None}]}
    ada.annotate(one, {"n": None, "quality": None})
    assert said_of(ada, one) == {"n": 0, "seen": [1, {"a": None}]}


def test_a_filter_chooses_whom_it_is_said_of(ada: Repository):
    ids = record(ada, benchmark(ada), 4)
    assert ada.annotate(FilterGT(key="metadata.n", value=1), {"late": True}) == sorted(ids[2:])
    assert ada.annotate(FilterGT(key="metadata.n", value=9), {"late": True}) == []
    assert matching(ada, FilterEQ(key="metadata.late", value=True)) == set(ids[2:])


def test_no_episode_is_written_again_and_digests_stay(ada: Repository):
    ids = record(ada, benchmark(ada), 3)
    pin = ada.pin("paper", ids)
    ada.annotate(ids, {"success": True})
    assert ada.pin("paper", ids) == pin  # nothing new
    assert {header.id for header in ada.episodes_of("paper")} == set(ids)
    assert len(ada._store.loose_ids(Kind.ANNOTATION)) == 1


def test_publishing_carries_it(ada: Repository, tmp_path: Path):
    one, two = record(ada, benchmark(ada), 2)
    before = ada.publish("walk", episodes=True).releases[0]
    assert ada.publish("walk").n_new == 0
    ada.annotate(one, {"success": True})
    report = ada.publish("walk")
    assert (report.n_new, report.n_added) == (1, 0)
    assert report.releases[0].digest == before.digest
    assert ada.publish("walk").n_new == 0
    ada.push()
    with Repository.clone(tmp_path / "hub", tmp_path / "bob") as bob:
        assert published(bob) == {one, two}
        assert said_of(bob, one) == {"n": 0, "success": True}
        assert said_of(bob, two) == {"n": 1}
        bob.annotate(two, {"success": False})
        bob.publish("walk")
        bob.push()
    ada.annotate(one, {"kind": "expert"})  # both at once: they unite
    ada.publish("walk")
    ada.pull()
    ada.push()
    for who in (ada, opened(tmp_path / "hub")):
        assert said_of(who, one) == {"n": 0, "success": True, "kind": "expert"}
        assert said_of(who, two) == {"n": 1, "success": False}
        assert not who.fsck("data").findings


def test_on_a_drive_only_what_is_published_counts(ada: Repository, tmp_path: Path):
    (one,) = record(ada, benchmark(ada))
    ada.publish("walk", episodes=True)
    ada.push()
    with opened(tmp_path / "hub") as hub:
        hub.annotate(one, {"stray": True})
        assert said_of(hub, one) == {"n": 0}
        hub.publish("walk")
        assert said_of(hub, one) == {"n": 0, "stray": True}


def test_it_survives_cleaning_and_a_bundle(ada: Repository, tmp_path: Path):
    (one,) = record(ada, benchmark(ada))
    ada.annotate(one, {"success": True})
    ada.close()
    ada.gc(grace=timedelta(0))  # published nowhere, and yet not to be cleaned away
    assert said_of(opened(ada.root), one) == {"n": 0, "success": True}
    ada.publish("walk", episodes=True)
    ada.gc(grace=timedelta(0))
    ada.bundle(["walk"], tmp_path / "walk.tupli")
    with Repository.clone(tmp_path / "walk.tupli", tmp_path / "carl") as carl:
        assert said_of(carl, one) == {"n": 0, "success": True}
    assert said_of(opened(ada.root), one) == {"n": 0, "success": True}


def test_datasets_show_it(tmp_path: Path):
    storage = FileStorage(tmp_path / "lab")
    ids = record(storage, benchmark(storage), 3)
    storage.annotate(ids[:2], {"success": True})
    good = FilterEQ(key="metadata.success", value=True)
    dataset = TupliDataset(storage).with_episode_filter(good)
    dataset.load()
    assert [episode.metadata["success"] for episode in dataset.episodes] == [True, True]


def test_headers_will_do_for_ids(ada: Repository):
    ids = record(ada, benchmark(ada), 2)
    assert ada.annotate(ada.list_episodes(), {"seen": True}) == sorted(ids)
    assert ada.annotate(ada.episode_headers()[:1], {"first": True}) == ids[:1]


def test_a_filter_on_other_keys_looks_at_no_row(ada: Repository):
    ids = record(ada, benchmark(ada), 3, a={"b": 1})
    ada.annotate(ids[:1], {"quality": "good", "a": {"b": 2}})
    assert matching(ada, FilterGT(key="metadata.n", value=0)) == set(ids[1:])
    assert matching(ada, FilterEQ(key="metadata.a.b", value=2)) == set(ids[:1])
    assert matching(ada, FilterEQ(key="metadata.a.b", value=1)) == set(ids[1:])
    assert matching(ada, FilterEQ(key="metadata.quality", value="good")) == set(ids[:1])


def test_what_cannot_be_said_changes_nothing(ada: Repository):
    (one,) = record(ada, benchmark(ada))
    with pytest.raises(NotFoundError):
        ada.annotate([one, "0" * 64], {"a": 1})
    with pytest.raises(InvalidInputError, match="nothing is said"):
        ada.annotate(one, {})
    with pytest.raises(InvalidInputError, match="key 3 is not text"):
        ada.annotate(one, {3: 1})  # type: ignore[dict-item]
    with pytest.raises(InvalidInputError, match="a 'str' is no metadata"):
        ada.annotate(one, "success")  # type: ignore[arg-type]
    with pytest.raises(EncodingError):
        ada.annotate(one, {"a": object()})
    ada.remove([one])
    with pytest.raises(NotFoundError):
        ada.annotate(one, {"a": 1})
    assert not ada._store.loose_ids(Kind.ANNOTATION)


def test_a_damaged_annotation_is_found(ada: Repository):
    (one,) = record(ada, benchmark(ada))
    ada.annotate(one, {"success": True})
    (oid,) = ada._store.loose_ids(Kind.ANNOTATION)
    path = ada.root / "objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-3])
    found = opened(ada.root).fsck("data").findings
    assert [one.path for one in found] == [f"objects/{oid[:2]}/{oid[2:]}"]


def test_what_is_said_is_nobodys_to_change(ada: Repository):
    one, two = record(ada, benchmark(ada), 2)
    ada.annotate([one, two], {"seen": [1]})
    said_of(ada, one)["seen"].append(2)
    ada.load_episode(one).metadata["seen"].append(3)
    assert said_of(ada, one)["seen"] == said_of(ada, two)["seen"] == [1]


def test_who_speaks_last_is_heard_though_another_clock_is_ahead(ada: Repository):
    one, two, other = record(ada, benchmark(ada), 3)
    ahead = AnnotationBody(
        subjects=[one],
        metadata={"quality": "good"},
        created_by="bob",
        created_at="2999-12-31T23:59:59.999999Z",
    )
    ada._annotations.add(ahead)
    assert said_of(ada, one)["quality"] == "good"
    ada.annotate([one, two], {"quality": "bad"})
    assert said_of(ada, one)["quality"] == "bad"
    ada.annotate(one, {"quality": None})
    assert said_of(ada, one) == {"n": 0}
    ada.annotate(other, {"n": 5})
    times = sorted(body.created_at for _, body in ada._annotations.all().values())
    assert times[0] < "2999"  # nobody spoke of that one
    assert times[2:] == ["3000-01-01T00:00:00.000000Z", "3000-01-01T00:00:00.000001Z"]


KEYS = ["n", "m", "x", "x.y"]
VALUES = st.sampled_from(
    [0, 1, 1.5, True, "a", "", float("nan"), [1], {"y": 1}, {"y": {"z": "a"}}, np.float32(1.5)]
)
METADATA = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3)
ASKED = st.sampled_from([f"metadata.{key}" for key in (*KEYS, "x.y.z")] + ["metadata", "n_tuples"])
ONE = st.one_of(
    [st.builds(kind, key=ASKED, value=VALUES) for kind in (FilterEQ, FilterNE, FilterGT, FilterLEQ)]
    + [st.builds(FilterIN, key=ASKED, value=st.lists(VALUES, max_size=3))]
)
SOME = st.lists(ONE, min_size=1, max_size=3)
CHOSEN = ONE | st.builds(FilterAND, filters=SOME) | st.builds(FilterOR, filters=SOME)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(METADATA, min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 63), METADATA.filter(bool)), max_size=3),
    st.lists(CHOSEN, min_size=10, max_size=10),
    st.booleans(),
    st.integers(0, 3),
)
def test_listings_and_filters_agree_whatever_is_said(recorded, said, asked, is_sealed, skip):
    disk = MemoryFileSystem()
    with person(Path("/ada"), fs=disk) as ada:
        of = benchmark(ada)
        ids = [ada.record_episode(episode(of, metadata=own)).id for own in recorded]
        if is_sealed:
            ada.close()
            ada = opened(Path("/ada"), disk)
        expected = {oid: {**own} for oid, own in zip(ids, recorded, strict=True)}
        for which, words in said:
            some = [oid for number, oid in enumerate(ids) if which >> number & 1]
            ada.annotate(some, words)
            for oid in some:
                expected[oid] |= words
        headers = ada.list_episodes()
        assert {header.id: str(sorted(header.metadata.items())) for header in headers} == {
            oid: str(sorted(words.items())) for oid, words in expected.items()
        }
        for chosen in asked:
            found = [h.id for h in headers if chosen.matches(h.model_dump())]
            assert [h.id for h in ada.list_episodes(chosen)] == found
            assert [h.id for h in ada.iter_episodes(chosen, skip=skip, limit=2)] == found[skip:][:2]
            assert sum(ada.count_episodes(chosen).values()) == len(found)
