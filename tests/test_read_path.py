"""Loading in every way there is: the same episodes, the same order, the same bits."""

import pickle
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.recorded import SORTS, TIMES, Lab, Recorded, labs
from tests.strategies import same
from tupli_repo import Steps, TupliDataset
from tupli_repo.codec.columns import concatenate
from tupli_repo.codec.tuples import tuples_from_steps
from tupli_repo.errors import CorruptObjectError, InvalidInputError, NotFoundError
from tupli_repo.repository.loading import LoadedEpisodes
from tupli_repo.schema import FilterEQ
from tupli_repo.storage import TupliStorage

Columns = dict[str, NDArray[Any]]


def dataset_of(storage: Any) -> TupliDataset:
    return TupliDataset(storage)


def check_is(loaded: LoadedEpisodes, wanted: list[Recorded]) -> None:
    """What was loaded is what was recorded."""
    assert list(loaded.ids) == [header.id for header, _ in loaded] == [one.id for one in wanted]
    assert loaded.n_steps.tolist() == [one.n_steps for one in wanted]
    for (_, data), one in zip(loaded, wanted, strict=True):
        for name in ("observations", "actions", "infos"):
            assert same(list(getattr(data, name)), list(getattr(one.steps, name)))
        assert same(data.rewards, one.steps.rewards)


def check_same(one: Columns, other: Columns) -> None:
    assert one.keys() == other.keys()
    for name, column in one.items():
        assert same(column, other[name]), name


def d4rl_of(wanted: list[Recorded], like: Columns) -> Columns:
    """D4RL's arrays, put together step by step."""
    rows: list[tuple[Any, ...]] = []
    for one in wanted:
        seen, end = one.steps.observations, one.steps.terminated
        known = [i for i in range(one.n_steps) if i + 1 < len(seen) or end[i]]
        for i in known:
            after = seen[min(i + 1, len(seen) - 1)]
            is_cut = i == known[-1] and not end[i]
            rows.append(
                (seen[i], one.steps.actions[i], after, one.steps.rewards[i], end[i], is_cut)
            )
    columns = zip(*rows, strict=True) if rows else [()] * len(like)
    named = zip(like.items(), columns, strict=True)
    return {k: np.array(v, a.dtype).reshape(len(rows), *a.shape[1:]) for (k, a), v in named}


@settings(max_examples=12)
@given(lab=labs(*SORTS), data=st.data())
def test_every_way_of_loading_gives_what_was_recorded(lab: Lab, data: st.DataObject):
    wanted, reader = lab.in_order(), lab.opened()
    ids = [one.id for one in wanted]
    selection = reader.select()
    assert [header.id for header in reader.list_episodes()] == selection.ids == ids
    check_is(reader.load_selected(selection), wanted)
    some = data.draw(st.lists(st.sampled_from(wanted), max_size=6) if wanted else st.just([]))
    check_is(reader.load_selected(reader.select_ids(one.id for one in some)), some)
    check_is(reader.load_episodes([one.id for one in some]), some)
    dataset = dataset_of(reader)
    assert [item.id for item in dataset.preview()] == ids
    dataset.load()
    assert [item.id for item in dataset.preview()] == ids
    assert len(dataset.tuples) == sum(one.n_steps for one in wanted)
    for number, one in enumerate(wanted):
        at = data.draw(st.integers(0, one.n_steps - 1))
        step = dataset.tuples[sum(before.n_steps for before in wanted[:number]) + at]
        assert same(step.model_dump(), tuples_from_steps(one.steps)[at].model_dump())
    for opened in lab.openings:
        opened.close()
    again = lab.opened()
    assert again.select() == selection
    check_is(again.load_selected(selection), wanted)  # out of packs that were not there


@settings(max_examples=15)
@given(lab=labs("plain", "wide", "double", "empty"), data=st.data())
def test_columns_and_transitions_are_those_of_the_episodes(lab: Lab, data: st.DataObject):
    sort = data.draw(st.sampled_from(["plain", "wide", "double", "empty"]))
    wanted, reader = lab.in_order(sort), lab.opened()
    loaded, fresh = (
        dataset_of(reader).with_episode_filter(FilterEQ(key="metadata.sort", value=sort))
        for _ in range(2)
    )
    parts = [found.columns for _, found in reader.load_episodes([one.id for one in wanted])]
    whole = concatenate(parts)
    check_same(loaded.columns(), whole)
    check_same(fresh.columns(only="rewards"), {k: whole[k] for k in whole if k == "rewards"})
    n = sum(one.n_steps for one in wanted)
    numbers = data.draw(st.lists(st.integers(-n, n - 1), max_size=20) if n else st.just([]))
    names = [name for name in whole if name != "observations"]
    first = [one.steps.observations[i] for one in wanted for i in range(one.n_steps)]
    expected = {name: whole[name][numbers] for name in names}
    expected |= {"observations": np.array(first)[numbers]} if n else {}
    for dataset in (fresh, loaded):
        assert int(dataset.episode_lengths.sum()) == n
        check_same(dataset.transitions(numbers, only=expected), expected)


@settings(max_examples=15)
@given(lab=labs("plain", "single"), every=st.integers(1, 3))
def test_d4rls_arrays_of_several_layouts_are_in_the_order_of_time(lab: Lab, every: int):
    dataset = dataset_of(lab.opened())
    whole = dataset.convert_to_d4rl_format()
    check_same(whole, d4rl_of(lab.in_order(), whole))
    kept = set(dataset.rewards[::every])
    some = dataset.with_tuple_filter(lambda step: step.reward in kept).convert_to_d4rl_format()
    mask = np.isin(whole["rewards"], list(kept))
    expected = {name: array[mask] for name, array in whole.items()}
    (rows,) = np.nonzero(mask)
    before_a_gap = ~np.isin(rows + 1, rows) & ~expected["terminals"]
    check_same(some, {**expected, "timeouts": expected["timeouts"] | before_a_gap})


@pytest.mark.parametrize("is_loaded", [False, True])
def test_what_no_batch_can_be_made_of_is_refused(is_loaded: bool):
    lab = Lab()
    lab.record("plain", 3)
    dataset = dataset_of(lab.opened())
    if is_loaded:
        dataset.load()
    for steps in ([True, False, True], [0.0, 1.0], np.array([0.5]), [2**70]):
        with pytest.raises(InvalidInputError, match="steps are told by whole numbers"):
            dataset.transitions(cast(Any, steps))
    with pytest.raises(InvalidInputError, match="there is no step 9223372036854775807"):
        dataset.transitions(np.array([2**64 - 1], np.uint64))  # which is not the last one
    for only in ("terminals", ["rewards", "terminals"]):
        with pytest.raises(InvalidInputError, match="there is no column 'terminals'"):
            dataset.transitions([0], only=only)
        with pytest.raises(InvalidInputError, match="there is no column 'terminals'"):
            dataset.columns(only=only)
    some = dataset.transitions(np.array([1, 2], np.uint8))
    assert some["infos/at"].tolist() == [1, 2]
    check_same(dataset.transitions([]), {name: rows[:0] for name, rows in some.items()})
    nobody = dataset.with_episode_filter(FilterEQ(key="metadata.n", value=4))
    assert nobody.transitions([]) == nobody.columns() == nobody.columns(only="nothing") == {}


def test_the_name_of_a_column_is_no_list_of_letters():
    lab = Lab()
    oid = lab.record("plain", 3)
    reader = lab.opened()
    for columns in (
        reader.load_episodes([oid], only="infos").columns(),
        reader.load_selected(reader.select(), only="infos").columns(),
        reader.read_steps(reader.select(), [0, 1, 2], only="infos"),
        next(reader.read_episodes([oid], only="infos"))[1].columns,
    ):
        check_same(columns, {"infos/at": np.arange(3)})


def test_what_was_selected_is_loaded_whatever_becomes_of_it():
    lab = Lab()
    ids = [lab.record("plain", 20, who=n % 3, at=TIMES[n % 4]) for n in range(12)]
    reader = lab.opened()
    before, wanted = reader.select(), lab.in_order()
    loaded = reader.load_selected(before)
    reader.remove(ids[:5])
    lab.tidy()
    assert set(reader.select().ids) == set(ids[5:])
    check_is(loaded, wanted)
    check_is(lab.opened().load_selected(pickle.loads(pickle.dumps(before))), wanted)
    assert len(lab.opened().read_steps(before, range(240), only="rewards")["rewards"]) == 240
    reader.restore(ids[:5])
    assert reader.select() == before
    with pytest.raises(NotFoundError, match="'ffffffffffff' is not in this repository"):
        reader.select_ids([ids[0], "f" * 64])


def test_episodes_that_lie_unevenly_in_a_block_are_told_apart():
    lab, sorts = Lab(), ("plain", "odd", "halves")
    for number in (0, 0, 1, 0, 1, 1, 0, 2, 2, 2):  # all of one sort have as many bytes
        lab.record(sorts[number], 4, at=f"2026-01-01T00:00:{len(lab.recorded):02}.000000Z")
    lab.openings[0].close()
    reader = lab.opened()
    for sort in sorts:
        chosen = reader.select(episodes=FilterEQ(key="metadata.sort", value=sort))
        check_is(reader.load_selected(chosen), lab.in_order(sort))


@pytest.mark.parametrize("sort", ["plain", "single", "odd", "ragged"])
def test_short_episodes_of_many_lengths_are_those_that_were_recorded(sort: str):
    lab, rng = Lab(), np.random.default_rng(0)
    for number, n in enumerate(rng.integers(1, 30, 70).tolist()):
        lab.record(sort, n, at=f"2026-01-01T00:00:00.{number:06}Z", final=number % 5 > 0)
    lab.record("wide", 4, at=TIMES[1])  # another layout
    lab.openings[0].close()
    reader = lab.opened()
    check_is(reader.load_selected(reader.select()), lab.in_order())
    some = [one for one in lab.in_order(sort) if one.n_steps % 3]
    turned = some[::-1] + some[:2]
    check_is(reader.load_selected(reader.select_ids([one.id for one in some])), some)
    check_is(reader.load_selected(reader.select_ids([one.id for one in turned])), turned)
    chosen = reader.select(episodes=FilterEQ(key="metadata.sort", value=sort))
    rewards = reader.load_selected(chosen, only="rewards").columns()
    assert rewards.keys() == {"rewards"}
    check_same(rewards, {"rewards": np.concatenate([o.steps.rewards for o in lab.in_order(sort)])})


@pytest.mark.parametrize("lengths", [[9] * 4 + [7] + [9] * 7, [4, 7, 9, 2, 7, 1, 8, 3, 9, 5, 6]])
def test_an_episode_whose_blob_is_another_is_told_among_many(lengths: list[int]):
    lab = Lab()
    for number, n in enumerate(lengths):
        lab.record("plain", n, at=f"2026-01-01T00:00:{number:02}.000000Z")
    lab.openings[0].close()
    episodes, wrong = lab.opened()._episodes, 4
    stored = episodes.stored(lab.opened().select())
    check_is(episodes.load_stored(stored), lab.in_order())
    for lie, why in (
        ({"rows": stored[2].rows}, "a blob has another size"),
        ({"data": stored[2].data}, "a blob has another size"),
        ({"data": ()}, "the columns are larger than their blobs"),
    ):
        told = [*stored[:wrong], stored[wrong]._replace(**lie), *stored[wrong + 1 :]]
        with pytest.raises(CorruptObjectError, match=f"'{stored[wrong].id[:12]}'.*: {why}"):
            episodes.load_stored(told)


def test_pieces_that_lie_side_by_side_go_where_they_belong():
    lab, seen = Lab(), []
    for number in range(3):
        still = np.zeros((34, 50, 40))  # the first piece is the same in all, and stored once
        still[32:] = np.random.default_rng(number).normal(size=(2, 50, 40))
        lab.openings[0].record(
            Steps(
                observations=still,
                actions=np.zeros(33),
                rewards=np.full(33, number),
                terminated=np.zeros(33, bool),
                truncated=np.zeros(33, bool),
                infos=[{}] * 33,
                created_at=TIMES[number],
            ),
            lab.walk,
        )
        seen.append(still)
    lab.openings[0].close()
    reader = lab.opened()
    found = reader.load_selected(reader.select(), only="observations").columns()
    check_same(found, {"observations": np.concatenate(seen)})


def test_a_batch_reads_the_records_of_its_own_episodes_alone():
    lab = Lab()
    for _ in range(800):
        lab.record("odd", 2)  # the record tells how long its columns are
    lab.tidy()
    reader = lab.opened()
    selection = reader.select()
    reader.read_steps(selection, [0], only="rewards")  # the directory is known then
    lab.disk.n_bytes = 0
    reader.load_selected(selection, only="rewards")
    whole, lab.disk.n_bytes = lab.disk.n_bytes, 0
    reader.read_steps(selection, [1000, 1001], only="rewards")
    assert 0 < lab.disk.n_bytes < whole / 2


def test_a_storage_that_is_no_repository_gives_the_same():
    class Elsewhere:
        def __getattr__(self, name: str) -> Any:
            assert name in TupliStorage.__abstractmethods__
            return getattr(storage, name)

    lab = Lab()
    for n in range(6):
        lab.record("plain", n + 1, who=n % 3, at=TIMES[n % 4])
    storage = lab.opened()
    one, other = dataset_of(lab.opened()), dataset_of(Elsewhere())
    check_same(other.columns(only="rewards"), one.columns(only="rewards"))
    check_same(other.transitions([5, -1, 0, 5]), one.transitions([5, -1, 0, 5]))
    check_same(other.columns(), one.columns())
    assert other.episode_lengths.tolist() == one.episode_lengths.tolist()
