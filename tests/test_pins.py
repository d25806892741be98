"""Pins: a name that gives the same episodes in the same order, wherever and whenever."""

import copy
import hashlib
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.envs import Walk, play, stored
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import InvalidInputError, NotFoundError
from tupli_repo.schema import ArtifactMetadata, FilterEQ, FilterGEQ, FilterLEQ
from tupli_repo.storage import FileStorage, TupliStorage

LONG = FilterGEQ(key="n_tuples", value=2)


@pytest.fixture
def filled(storage):
    """Two benchmarks with six episodes of 1 to 3 steps."""
    for name in ("one", "two"):
        record(storage, name)
    return storage


def record(storage: FileStorage, name: str, seeds: tuple[int, ...] = (1, 2, 3)) -> str:
    env = stored(storage, Walk(3), name=name)
    for n in seeds:
        play(env, [1, 2, 3][: n % 4], seed=n)
    env.close()
    return str(env.id)


def copied(storage: FileStorage, folder: Path) -> FileStorage:
    """Another repository that was given all files of this one by hand, as rsync would."""
    storage.close()
    other = FileStorage(folder)
    for name in ("objects", "packs", "refs"):
        shutil.copytree(storage.root / name, other.root / name, dirs_exist_ok=True)
    return other


def arrays(dataset: TupliDataset) -> dict[str, bytes]:
    return {name: column.tobytes() for name, column in dataset.columns().items()}


def ids(dataset: TupliDataset) -> list[str]:
    return [header.id for header in dataset.preview()]


def test_a_pin_is_named_by_twelve_digits_and_gives_exactly_the_filtered_episodes(filled):
    dataset = TupliDataset(filled).with_episode_filter(LONG)
    revision = dataset.pin("train-2026", "the long ones")
    name, _, digits = revision.partition("@")
    assert (name, len(digits)) == ("train-2026", 12)
    again = TupliDataset.from_pin(filled, revision)
    assert ids(again) == ids(dataset)
    assert arrays(again) == arrays(dataset)
    assert again.benchmarks == dataset.benchmarks
    assert filled.release(revision).message == "the long ones"


def test_the_digest_is_of_the_sorted_ids(filled):
    dataset = TupliDataset(filled)
    raw = b"".join(sorted(bytes.fromhex(oid) for oid in ids(dataset)))
    assert dataset.digest == hashlib.sha256(raw).hexdigest()
    revision = dataset.pin("all")
    assert TupliDataset.from_pin(filled, revision).digest == dataset.digest
    assert filled.release(revision).digest == dataset.digest


def test_what_is_recorded_and_stored_later_is_not_in_the_pin(filled):
    dataset = TupliDataset(filled)
    revision, before = dataset.pin("all"), arrays(dataset)
    record(filled, "three")
    record(filled, "one")
    again = TupliDataset.from_pin(filled, revision)
    assert len(again.preview()) == 6
    assert len(again.benchmarks) == 2
    assert arrays(again) == before


def test_what_is_removed_stays_in_the_pin(filled):
    dataset = TupliDataset(filled)
    revision, before, order = dataset.pin("all"), arrays(dataset), ids(dataset)
    filled.remove([order[2], dataset.benchmarks[0].id])
    assert len(TupliDataset(filled).preview()) < len(order)
    again = TupliDataset.from_pin(filled, revision)
    assert ids(again) == order
    assert arrays(again) == before
    assert again.benchmarks == dataset.benchmarks
    again.load()
    assert ids(again) == order


def test_a_pin_is_the_same_in_another_repository_that_holds_more(filled, tmp_path: Path):
    dataset = TupliDataset(filled).with_episode_filter(LONG)
    revision = dataset.pin("long")
    filled.publish(revision)
    other = FileStorage(tmp_path / "other")
    record(other, "one", (5, 6, 7))
    other.close()
    again = TupliDataset.from_pin(copied(filled, tmp_path / "other"), revision)
    assert len(TupliDataset(again.storage).preview()) == 9
    assert ids(again) == ids(dataset)
    assert again.digest == dataset.digest
    assert arrays(again) == arrays(dataset)


def test_a_pin_of_unsealed_and_sealed_episodes_keeps_its_order(filled):
    env = stored(filled, Walk(3), name="one")
    play(env, [1, 2], seed=9)
    dataset = TupliDataset(filled)
    revision, order = dataset.pin("all"), ids(dataset)
    env.close()
    filled.close()
    assert ids(TupliDataset.from_pin(filled, revision)) == order


def test_a_process_of_its_own_loads_the_same_arrays(filled):
    dataset = TupliDataset(filled).with_episode_filter(LONG)
    revision = dataset.pin("long")
    script = (
        "import sys, hashlib; from tupli_repo import FileStorage, TupliDataset\n"
        "found = TupliDataset.from_pin(FileStorage(sys.argv[1]), sys.argv[2])\n"
        "columns = found.columns()\n"
        "print(found.digest, hashlib.sha256("
        "b''.join(columns[name].tobytes() for name in sorted(columns))).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, filled.root.parent, revision],
        check=True,
        capture_output=True,
        text=True,
    )
    columns = arrays(dataset)
    content = hashlib.sha256(b"".join(columns[name] for name in sorted(columns))).hexdigest()
    assert done.stdout.split() == [dataset.digest, content]


def test_pinning_the_same_again_gives_the_same_revision_and_other_episodes_another(filled):
    dataset = TupliDataset(filled)
    first = dataset.pin("all")
    assert TupliDataset(filled).pin("all") == first
    second = dataset.with_episode_filter(LONG).pin("all")
    assert second != first
    assert len(TupliDataset.from_pin(filled, first).preview()) == 6
    assert len(TupliDataset.from_pin(filled, "all").preview()) == 4
    assert len(TupliDataset.from_pin(filled, "all@1").preview()) == 6


def test_a_dataset_from_a_name_stays_what_the_name_was(filled):
    dataset = TupliDataset(filled)
    dataset.pin("all")
    found = TupliDataset.from_pin(filled, "all")
    dataset.with_episode_filter(LONG).pin("all")
    assert len(found.preview()) == 6


def test_a_pin_can_be_narrowed_and_pinned_again(filled):
    found = TupliDataset.from_pin(filled, TupliDataset(filled).pin("all"))
    record(filled, "one")
    narrow = found.with_episode_filter(FilterLEQ(key="n_tuples", value=1))
    of_one = found.with_benchmark_filter(FilterEQ(key="metadata.name", value="one"))
    assert [header.n_tuples for header in narrow.preview()] == [1, 1]
    assert [header.n_tuples for header in of_one.preview()] == [1, 2, 3]
    assert [b.metadata.name for b in of_one.benchmarks] == ["one"]
    rewarded = found.with_tuple_filter(lambda step: step.action == 1)
    assert set(rewarded.actions) == {1}
    short = narrow.pin("short")
    assert ids(TupliDataset.from_pin(filled, short)) == ids(narrow)


def test_copies_and_pickles_of_a_pin_are_the_pin(filled):
    found = TupliDataset.from_pin(filled, TupliDataset(filled).pin("all"))
    expected = arrays(found)
    record(filled, "three")
    for twin in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert arrays(twin) == expected


def test_samples_of_a_pin_are_the_same_for_the_same_seed(filled, tmp_path: Path):
    revision = TupliDataset(filled).pin("all")
    filled.publish(revision)
    drawn = []
    for storage in (filled, copied(filled, tmp_path / "other")):
        found = TupliDataset.from_pin(storage, revision)
        found.set_seed(7)
        drawn.append([header.id for header in found.sample_episodes(4)])
    assert drawn[0] == drawn[1]


def test_a_step_filter_cannot_be_pinned(filled):
    dataset = TupliDataset(filled).with_tuple_filter(lambda step: step.reward > 0)
    with pytest.raises(InvalidInputError, match="step filter cannot be pinned"):
        dataset.pin("some")
    assert filled.names() == []


def test_nothing_cannot_be_pinned(filled):
    dataset = TupliDataset(filled).with_episode_filter(FilterEQ(key="n_tuples", value=99))
    with pytest.raises(InvalidInputError, match="nothing to pin"):
        dataset.pin("none")


@pytest.mark.parametrize("name", ["../x", "A B", "con", "x.lock", "", "ü", "x" * 65])
def test_a_name_that_is_none_is_refused(filled, name: str):
    with pytest.raises(InvalidInputError):
        TupliDataset(filled).pin(name)
    assert filled.names() == []


def test_a_revision_that_is_not_here_is_an_error_at_once(filled):
    with pytest.raises(NotFoundError):
        TupliDataset.from_pin(filled, "train@3f2a91c")


def test_a_revision_of_a_benchmark_is_a_dataset_too_and_an_artifact_is_none(filled):
    filled.publish(TupliDataset(filled).benchmarks[0].id, episodes=True)
    assert len(TupliDataset.from_pin(filled, "one").preview()) == 3
    item = filled.store_artifact(b"x", ArtifactMetadata(name="wind"))
    filled.publish(item.id)
    with pytest.raises(InvalidInputError, match="no episodes"):
        TupliDataset.from_pin(filled, "wind")


def test_episodes_tell_where_they_are_published_however_they_are_read(filled):
    dataset = TupliDataset(filled)
    revision = dataset.pin("all")
    some = [header.id for header in dataset.with_episode_filter(LONG).preview()]
    filled.publish_episodes(some, "lab")
    everywhere = TupliDataset(filled)
    pinned = TupliDataset.from_pin(filled, revision)
    for found in (everywhere.preview(), pinned.preview(), pinned.episodes):
        assert {h.id for h in found if h.published_in == ["lab"]} == set(some)
        assert {h.id for h in found if not h.published_in} == set(ids(dataset)) - set(some)
    assert filled.load_episode(some[0]).published_in == ["lab"]
    shared = pinned.with_episode_filter(FilterEQ(key="published_in", value="lab"))
    assert ids(shared) == some


def test_a_storage_without_names_says_so():
    class Other:
        pass

    storage: TupliStorage = Other()  # type: ignore[assignment]
    with pytest.raises(InvalidInputError, match="is no repository"):
        TupliDataset.from_pin(storage, "train")


def test_a_pin_keeps_the_dtypes_it_was_recorded_in(filled):
    found = TupliDataset.from_pin(filled, TupliDataset(filled).pin("all"))
    assert found.columns()["observations"].dtype == np.float32
