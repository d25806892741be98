"""Episodes that are recorded in a batch: the same as others, and seen within it."""

import threading
from pathlib import Path

import numpy as np
import pytest

from tests.repository.people import benchmark, opened, person
from tupli_repo import Repository, Steps


def walk(number: int, n_steps: int = 200) -> Steps:
    """Return an episode of its own."""
    rng = np.random.default_rng(number)
    return Steps(
        observations=rng.normal(size=(n_steps + 1, 17)).astype("f4"),
        actions=rng.normal(size=(n_steps, 6)).astype("f4"),
        rewards=rng.normal(size=n_steps),
        terminated=np.zeros(n_steps, bool),
        truncated=np.ones(n_steps, bool),
        infos=[{"speed": 1.0}] * n_steps,
        metadata={"number": number},
        nonce=f"{number:016x}",
        created_at=f"2026-01-01T00:00:00.{number:06d}Z",
    )


@pytest.fixture
def ada(tmp_path: Path) -> Repository:
    return person(tmp_path / "ada")


def test_a_batch_records_the_same_episodes_as_one_call_after_the_other(ada: Repository, tmp_path):
    of = benchmark(ada)
    bob = person(tmp_path / "bob")
    assert benchmark(bob) == of
    with ada.batch():
        together = [ada.record(walk(i), of).id for i in range(120)]
    single = [bob.record(walk(i), of).id for i in range(120)]
    assert together == single
    found = [repository.load_episodes(single) for repository in (opened(tmp_path / "ada"), bob)]
    for (_, one), (_, other) in zip(*found, strict=True):
        assert one.columns.keys() == other.columns.keys()
        assert all(np.array_equal(one.columns[k], other.columns[k]) for k in one.columns)


def test_what_a_batch_has_recorded_is_listed_and_loaded_within_it(ada: Repository):
    of = benchmark(ada)
    ids: list[str] = []
    with ada.batch():
        for i in range(90):
            ids.append(ada.record(walk(i), of).id)
            if i % 30 == 4:
                assert [header.id for header in ada.list_episodes()] == ids
                assert ada.load_episodes(ids[-1:])[0][1].record["metadata"] == {"number": i}
        ada.publish(of, episodes=True)
    assert len(ada.list_episodes()) == 90


def test_another_thread_that_records_makes_its_own_durable(ada: Repository, tmp_path: Path):
    of = benchmark(ada)
    with ada.batch():
        ids = {ada.record(walk(i), of).id for i in range(5)}
        other = threading.Thread(target=lambda: ids.add(ada.record(walk(50), of).id))
        other.start()
        other.join()
        assert {header.id for header in opened(tmp_path / "ada").list_episodes()} == ids


def test_what_was_recorded_before_an_error_is_there(ada: Repository, tmp_path: Path):
    of = benchmark(ada)
    ids: list[str] = []

    def fail() -> None:
        with ada.batch():
            ids.extend(ada.record(walk(i), of).id for i in range(70))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [header.id for header in opened(tmp_path / "ada").list_episodes()] == ids


def test_what_is_taken_back_before_a_batch_ends_is_published_again_by_it(ada: Repository):
    of = benchmark(ada)
    ids = [ada.record(walk(i, 5), of).id for i in range(3)]
    ada.publish(of, episodes=True)
    with ada.batch():
        ada.publish(of, episodes=True)
        ada.unpublish(of, episodes=ids[:1])
        assert "global" not in ada.list_episodes()[0].published_in
    assert all(header.published_in == ["global"] for header in ada.list_episodes())
