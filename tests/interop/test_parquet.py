"""Parquet files go out with RLlib's names and come back equal; others' files come in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.handover.episodes import ENDINGS, Ending, Truth, benchmark, record
from tests.strategies import Generated, episodes, same
from tupli_repo import FileStorage, Steps, TupliDataset
from tupli_repo.codec.episode import EpisodeData
from tupli_repo.errors import CorruptObjectError, InvalidInputError, NotFoundError
from tupli_repo.interop import export_parquet, import_parquet

pa: Any = pytest.importorskip("pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet")


def all_of(storage: Any) -> list[EpisodeData]:
    return [data for _, data in storage.read_episodes(h.id for h in storage.episode_headers())]


def ids_of(storage: Any) -> list[str]:
    return [header.id for header in storage.episode_headers()]


def foreign(folder: Path, truth: list[Truth], *but: str, order: Any = None) -> Path:
    """What another project may write of a truth: lists of any length, numbers for episodes."""
    rows = truth if order is None else [truth[i] for i in order]
    columns = {
        "eps_id": [one.episode for one in rows],
        "t": [int(one.state[1]) for one in rows],
        "obs": pa.array([one.state.tolist() for one in rows], pa.list_(pa.float32())),
        "actions": [one.action.tolist() for one in rows],
        "rewards": [one.reward for one in rows],
        "terminateds": [one.terminated for one in rows],
        "truncateds": [one.truncated for one in rows],
        "new_obs": pa.array([one.next_state.tolist() for one in rows], pa.list_(pa.float32())),
    }
    folder.mkdir(exist_ok=True)
    table = pa.table({name: column for name, column in columns.items() if name not in but})
    pq.write_table(table, folder / "some.parquet", row_group_size=7)
    return folder


def check(storage: Any, truth: list[Truth], *, has_final: bool = True) -> None:
    """Check that the episodes hold every step that was taken, and nothing else."""
    found = all_of(storage)
    assert sum(map(len, found)) == len(truth)
    steps = iter(truth)
    for data in found:
        assert len(data.observations) == len(data) + has_final
        rows = [next(steps) for _ in range(len(data))]
        assert len({one.episode for one in rows}) == 1
        for i, one in enumerate(rows):
            assert same(data.observations[i], one.state)
            if i + 1 < len(data.observations):
                assert same(data.observations[i + 1], one.next_state)
            np.testing.assert_array_equal(data.actions[i], one.action)
            assert data.rewards[i] == one.reward
            assert (data.terminated[i], data.truncated[i]) == (one.terminated, one.truncated)


def test_every_row_is_a_step_with_rllibs_names(storage: Any, tmp_path: Path):
    truth = record(storage)
    report = export_parquet(TupliDataset(storage), tmp_path / "out")
    assert (report.format, report.n_episodes, report.n_steps) == ("parquet", 6, len(truth))
    assert report.left_out == ()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000.parquet"]
    table = pq.read_table(tmp_path / "out")
    vector = pa.list_(pa.float32(), 3)
    assert {field.name: field.type for field in table.schema} == {
        "eps_id": pa.string(), "t": pa.int64(), "obs": vector, "new_obs": vector,
        "actions": pa.list_(pa.float32(), 2), "rewards": pa.float64(),
        "terminateds": pa.bool_(), "truncateds": pa.bool_(),
    }  # fmt: skip
    ids = ids_of(storage)
    for row, one in zip(table.to_pylist(), truth, strict=True):
        assert (row["eps_id"], row["t"]) == (ids[one.episode], one.state[1])
        np.testing.assert_array_equal(row["obs"], one.state)
        np.testing.assert_array_equal(row["new_obs"], one.next_state)
        np.testing.assert_array_equal(row["actions"], one.action)
        assert (row["rewards"], row["terminateds"], row["truncateds"]) == (
            one.reward, one.terminated, one.truncated,
        )  # fmt: skip


def has_empty(space: Any) -> bool:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return any(map(has_empty, parts))
    return 0 in space.shape


def check_round_trip(generated: Generated, folder: Path, *, is_known: bool) -> None:
    steps, observation, action = generated
    assume(not has_empty(observation) and not has_empty(action))
    with FileStorage(folder / "ours") as ours, FileStorage(folder / "theirs") as theirs:
        known = {"observation_space": observation, "action_space": action} if is_known else {}
        ours.record(steps, benchmark(ours), **known)
        export_parquet(TupliDataset(ours), folder / "out")
        report = import_parquet(theirs, folder / "out", benchmark_id=benchmark(theirs))
        assert (report.n_episodes, report.n_steps, report.n_new) == (1, len(steps.actions), 1)
        assert ids_of(theirs) == ids_of(ours)  # an id is that of record, layout and columns


@settings(max_examples=6)
@given(generated=episodes(), is_known=st.booleans())
def test_what_goes_out_and_comes_back_is_the_same_episode(
    generated: Generated, is_known: bool, tmp_path_factory: Any
):
    check_round_trip(generated, tmp_path_factory.mktemp("round"), is_known=is_known)


@pytest.mark.slow
@settings(max_examples=300)
@given(generated=episodes(), is_known=st.booleans())
def test_whatever_goes_out_and_comes_back_is_the_same_episode(
    generated: Generated, is_known: bool, tmp_path_factory: Any
):
    check_round_trip(generated, tmp_path_factory.mktemp("round"), is_known=is_known)


def test_episodes_with_different_infos_go_into_the_same_file(storage: Any, tmp_path: Path):
    into = benchmark(storage)
    kinds: list[list[dict[str, Any]]] = [
        [{"speed": 1.5, "hit": True, "pose": np.ones((2, 2), "f4")}] * 2,
        [{"speed": 2, "word": "wörd"}, {"#json": 1}],
        [{}, {"episode": {"r": 1.0, "x": None}, "pose": np.zeros(3)}],
        [{"": 1, "cost": np.complex64(1j)}] * 2,
        [{"#json": 3.5, "time": np.datetime64("2020-01-01")}] * 2,
        [{"speed": 2}, {"speed": 3}],
        [{}, {}],
    ]
    for i, infos in enumerate(kinds):
        steps = Steps(
            observations=np.arange(3.0), actions=np.arange(2), rewards=np.zeros(2),
            terminated=np.array([i % 2 == 0, True]), truncated=np.zeros(2, bool), infos=infos,
        )  # fmt: skip
        storage.record(steps, into)
    assert export_parquet(TupliDataset(storage), tmp_path / "out").left_out == ()
    with FileStorage(tmp_path / "theirs") as theirs:
        import_parquet(theirs, tmp_path / "out", benchmark_id=benchmark(theirs))
        assert ids_of(theirs) == ids_of(storage)
        by_id = {header.id: header for header in theirs.episode_headers()}
        assert len(by_id) == len(kinds)
    fields = pq.read_schema(tmp_path / "out" / "part-00000.parquet").field("infos").type
    assert {field.name for field in fields} == {"#json", "hit"}


@pytest.mark.parametrize("has_final", [(1, 1, 1), (0, 0, 0), (1, 0, 1)])
def test_texts_sequences_and_missing_last_observations_come_back(
    has_final: tuple[int, ...], storage: Any, tmp_path: Path
):
    observation = spaces.Dict(
        word=spaces.Text(9),
        many=spaces.Sequence(spaces.Box(-1, 1, (2,))),
        pairs=spaces.Sequence(spaces.Dict(a=spaces.Discrete(3), b=spaces.Text(4)), stack=True),
        image=spaces.Tuple([spaces.Box(0, 255, (4, 3, 2), np.uint8)]),
    )
    into = benchmark(storage)
    for i, n in enumerate((1, 3, 2)):
        observation.seed(i)
        steps = Steps(
            observations=[observation.sample() for _ in range(n + has_final[i])],
            actions=np.arange(n, dtype="i2"), rewards=np.zeros(n, "f4"),
            terminated=np.zeros(n, bool), truncated=np.zeros(n, bool), infos=[{}] * n,
        )  # fmt: skip
        storage.record(steps, into, observation_space=observation)
    report = export_parquet(TupliDataset(storage), tmp_path / "out")
    n_lacking = 3 - sum(has_final)
    assert [one.partition(";")[0] for one in report.left_out] == [
        f"new_obs, as {n_lacking} episodes lack their last observation"
    ] * (n_lacking > 0)
    with FileStorage(tmp_path / "theirs") as theirs:
        import_parquet(theirs, tmp_path / "out", benchmark_id=benchmark(theirs))
        assert (ids_of(theirs) == ids_of(storage)) == (n_lacking in (0, 3))
        for was, now in zip(all_of(storage), all_of(theirs), strict=True):
            assert len(now.observations) == len(now) + (n_lacking == 0)
            assert same(list(now.observations), list(was.observations)[: len(now.observations)])
            assert same(list(now.actions), list(was.actions))
            assert now.layout.observation_space == observation


def test_a_benchmark_is_made_with_the_words_it_had(storage: Any, tmp_path: Path):
    record(storage)
    export_parquet(TupliDataset(storage), tmp_path / "out")
    with FileStorage(tmp_path / "theirs") as theirs:
        told: list[tuple[int, int]] = []
        report = import_parquet(theirs, tmp_path / "out", on_progress=lambda *n: told.append(n))
        assert (report.n_new, report.left_out, told[-1]) == (6, (), (6, 6))
        assert theirs.benchmark(report.benchmarks[0]).metadata.name == "walk"
        assert import_parquet(theirs, tmp_path / "out").n_new == 0
        assert [h.metadata["pilot"] for h in theirs.episode_headers()] == [
            f"p{i % 3}" for i in range(6)
        ]


def test_a_file_ends_before_its_metadata_grow_too_long(storage: Any, tmp_path: Path):
    into = benchmark(storage)
    for i in range(5):
        steps = Steps(
            observations=np.arange(2.0), actions=np.array([i]), rewards=np.zeros(1),
            terminated=np.array([True]), truncated=np.array([False]), infos=[{}],
            metadata={"note": "x" * 900_000, "i": i}, created_at=f"2026-01-01T00:00:0{i}.000000Z",
        )  # fmt: skip
        storage.record(steps, into)
    export_parquet(TupliDataset(storage), tmp_path / "out")
    assert [pq.read_metadata(p).num_rows for p in sorted((tmp_path / "out").iterdir())] == [4, 1]
    with FileStorage(tmp_path / "theirs") as theirs:
        import_parquet(theirs, tmp_path / "out", benchmark_id=benchmark(theirs))
        assert ids_of(theirs) == ids_of(storage)


@settings(max_examples=6)
@given(order=st.permutations(range(18)))
def test_rows_in_any_order_make_the_same_episodes(order: list[int], tmp_path_factory: Any):
    folder = tmp_path_factory.mktemp("shuffled")
    endings = [Ending(5, terminated=True), Ending(1, terminated=False), Ending(12, terminated=True)]
    with FileStorage(folder / "ours") as ours, FileStorage(folder / "theirs") as theirs:
        truth = record(ours, endings)
        assert import_parquet(theirs, foreign(folder / "in", truth, order=order)).n_new == 3
        found = sorted(all_of(theirs), key=lambda data: data.record["metadata"]["eps_id"])
        for i, data in enumerate(found):
            rows = [one for one in truth if one.episode == i]
            np.testing.assert_array_equal(data.columns["observations"][:-1], [r[1] for r in rows])
            np.testing.assert_array_equal(data.columns["observations"][1:], [r[4] for r in rows])
            np.testing.assert_array_equal(data.rewards, [one.reward for one in rows])


def test_files_of_others_come_in(storage: Any, tmp_path: Path):
    truth = record(FileStorage(tmp_path / "other"))
    report = import_parquet(storage, foreign(tmp_path / "hops", truth))
    assert (report.n_episodes, report.n_new, report.left_out) == (len(ENDINGS), len(ENDINGS), ())
    check(storage, truth)
    assert [h.metadata for h in storage.episode_headers()] == [{"eps_id": i} for i in range(6)]
    assert storage.benchmark(report.benchmarks[0]).metadata.name == "hops"
    assert import_parquet(storage, tmp_path / "hops").n_new == 0


def test_without_new_obs_the_last_observation_is_not_known(storage: Any, tmp_path: Path):
    truth = record(FileStorage(tmp_path / "other"))
    import_parquet(storage, foreign(tmp_path / "in", truth, "new_obs", "t", "truncateds"))
    check(storage, [one._replace(truncated=False) for one in truth], has_final=False)


def test_an_episode_is_cut_where_steps_are_missing_or_it_goes_on_from_elsewhere(
    storage: Any, tmp_path: Path
):
    truth = record(FileStorage(tmp_path / "other"), [Ending(20, terminated=True)])
    del truth[4]  # a jump of t
    truth[9] = truth[9]._replace(next_state=np.ones(3, np.float32))  # a jump of observations
    truth[14] = truth[14]._replace(truncated=True)
    assert import_parquet(storage, foreign(tmp_path / "in", truth)).n_episodes == 4
    assert [len(data) for data in all_of(storage)] == [4, 6, 5, 4]
    assert [h.metadata.get("t") for h in storage.episode_headers()] == [None, 5, 11, 16]
    check(storage, truth)


def test_an_episode_is_cut_where_steps_are_missing_and_nothing_else_tells(
    storage: Any, tmp_path: Path
):
    truth = record(FileStorage(tmp_path / "other"), [Ending(20, terminated=True)])
    del truth[4]
    assert import_parquet(storage, foreign(tmp_path / "in", truth, "new_obs")).n_episodes == 2
    check(storage, truth, has_final=False)


def test_flags_in_the_middle_of_what_was_recorded_cut_nothing(storage: Any, tmp_path: Path):
    steps = Steps(
        observations=np.arange(5.0), actions=np.arange(4), rewards=np.zeros(4),
        terminated=np.array([False, True, False, True]), truncated=np.array([1, 0, 0, 0], bool),
        infos=[{}] * 4,
    )  # fmt: skip
    storage.record(steps, benchmark(storage))
    export_parquet(TupliDataset(storage), tmp_path / "out")
    with FileStorage(tmp_path / "theirs") as theirs:
        assert import_parquet(theirs, tmp_path / "out").n_episodes == 1
    table = pq.read_table(tmp_path / "out")
    (tmp_path / "less").mkdir()
    pq.write_table(table.slice(1), tmp_path / "less" / "a.parquet")
    with FileStorage(tmp_path / "fewer") as theirs:
        report = import_parquet(theirs, tmp_path / "less")
        assert (report.n_episodes, report.n_steps, len(report.left_out)) == (2, 3, 1)
        assert "as it is not whole" in report.left_out[0]
    with pq.ParquetFile(next((tmp_path / "out").iterdir())) as file:
        kept = table.replace_schema_metadata(file.metadata.metadata)
    for name, rows in (("first", kept.slice(0, 3)), ("gap", kept.take([0, 1, 3])), ("all", kept)):
        pq.write_table(rows, tmp_path / f"{name}.parquet")
    with FileStorage(tmp_path / "theirs") as theirs:
        for name, n in (("first", 3), ("gap", 3), ("all", 1)):
            report = import_parquet(theirs, tmp_path / f"{name}.parquet")
            assert (report.n_episodes, len(report.left_out)) == (n, name != "all")
            assert (report.n_new == 0) == (name == "all")


def test_columns_may_have_other_names_and_others_become_infos(storage: Any, tmp_path: Path):
    columns = {
        "run": ["a", "a", "b"], "agent_id": ["x", "y", "y"], "module_id": ["m"] * 3,
        "state": [0, 1, 2], "obs": [7, 7, 7], "actions": [0, 1, 0], "rewards": [0.5, 1, 2],
        "dones": [1, 1, 0], "logp": pa.array([0.1, 0.2, 0.3], pa.float32()),
        "who": ["p", "q", "r"], "ragged": [[1], [1, 2], [3]],
        "infos": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": 3, "b": None}],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "some.parquet")
    named = {"eps_id": "run", "obs": "state"}
    report = import_parquet(storage, tmp_path / "some.parquet", name="mine", columns=named)
    assert report.n_episodes == 3
    assert report.left_out == (
        "'module_id', the policy that acted",
        "'obs', as 'state' is read for it",
        "'who', which holds no numbers",
    )
    assert [h.metadata for h in storage.episode_headers()] == [
        {"eps_id": "a", "agent_id": "x"}, {"eps_id": "a", "agent_id": "y"},
        {"eps_id": "b", "agent_id": "y"},
    ]  # fmt: skip
    infos = [data.infos[0] for data in all_of(storage)]
    assert [info.get("a") for info in infos] == [1, None, 3]
    assert [info.get("b") for info in infos] == ["x", "y", None]
    assert same(infos[1]["logp"], np.float32(0.2))
    assert [data.terminated.tolist() for data in all_of(storage)] == [[True], [True], [False]]


def test_what_is_missing_or_cannot_be_is_told(storage: Any, tmp_path: Path):
    truth = record(storage, [Ending(3, terminated=True)])
    folder = foreign(tmp_path / "in", truth, "rewards")
    with pytest.raises(InvalidInputError, match=r"has no column 'rewards'") as failed:
        import_parquet(storage, folder)
    assert failed.value.hint == "it has eps_id, t, obs, actions, terminateds, truncateds, new_obs"
    with pytest.raises(InvalidInputError, match="RLlib has no column 'state'"):
        import_parquet(storage, folder, columns={"state": "obs"})
    with pytest.raises(NotFoundError, match="no files"):
        import_parquet(storage, tmp_path / "lab")
    pq.write_table(pa.table({"item": [b"x"]}), tmp_path / "item.parquet")
    with pytest.raises(InvalidInputError, match="'eps_id'") as failed:
        import_parquet(storage, tmp_path / "item.parquet")
    assert "output_write_episodes" in str(failed.value.hint)
    base = {"eps_id": ["a"], "obs": [1.0], "actions": [1], "rewards": [0.0], "terminateds": [True]}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"obs": ["BCJNGGRwuQAAAAAAAAA="]}, "packed by RLlib"),
        ({"obs": [b"x"]}, "of type 'binary'"),
        ({"obs": [None]}, "a value of 'obs' is missing"),
        ({"eps_id": pa.array([None], pa.string())}, "a value of 'eps_id' is missing"),
        ({"terminateds": [3]}, "something else than one flag"),
        ({"new_obs": [1]}, "'obs' is double and 'new_obs' is int64"),
    ]
    for change, message in wrong:
        pq.write_table(pa.table(base | change), tmp_path / "wrong.parquet")
        with pytest.raises(InvalidInputError, match=message):
            import_parquet(storage, tmp_path / "wrong.parquet")


def test_files_that_do_not_belong_together_are_refused(storage: Any, tmp_path: Path):
    record(storage)
    export_parquet(TupliDataset(storage), tmp_path / "out" / "a")
    with FileStorage(tmp_path / "other") as other:
        record(other, into=benchmark(other, "run"))
        export_parquet(TupliDataset(other), tmp_path / "out" / "b")
        with pytest.raises(InvalidInputError, match="have other spaces or benchmarks"):
            import_parquet(other, tmp_path / "out")


@settings(max_examples=30)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_file_is_an_error_or_harmless(
    place: float, bit: int, cut: bool, damaged: tuple[Any, bytes, list[str], Path]
):
    theirs, whole, ids, path = damaged
    at = int(place * len(whole))
    flipped = bytes([whole[at] ^ 1 << bit])
    path.write_bytes(whole[:at] if cut else whole[:at] + flipped + whole[at + 1 :])
    try:
        report = import_parquet(theirs, path, benchmark_id=benchmark(theirs))
    except (CorruptObjectError, InvalidInputError):
        return
    assert (report.n_episodes, report.n_new) == (len(ids), 0)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: Any) -> Any:
    """A storage to import into, a whole file, what is in it, and where one may be damaged."""
    folder = tmp_path_factory.mktemp("damaged")
    with FileStorage(folder / "ours") as ours, FileStorage(folder / "theirs") as theirs:
        record(ours)
        export_parquet(TupliDataset(ours), folder / "out")
        import_parquet(theirs, folder / "out", benchmark_id=benchmark(theirs))
        whole = (folder / "out" / "part-00000.parquet").read_bytes()
        yield theirs, whole, ids_of(ours), folder / "bad.parquet"


def test_what_parquet_has_nothing_for_is_told(tmp_path: Path):
    def steps(observations: Any) -> Steps:
        return Steps(
            observations=observations, actions=np.arange(1), rewards=np.zeros(1),
            terminated=np.array([True]), truncated=np.array([False]), infos=[{}],
        )  # fmt: skip

    graph = spaces.Graph(spaces.Box(-1, 1, (2,)), None)
    graph.seed(1)
    cases: list[tuple[list[Any], Any, str]] = [
        ([np.ones((2, 2), "c8")], None, r"'observations' is complex64\[2\]"),
        ([np.ones((2, 0), "f4")], None, r"'observations' is float32\[0\]"),
        ([[graph.sample(), graph.sample()]], graph, "of a Graph space"),
        ([np.ones((2, 2), "f4"), np.ones((2, 2), "f8")], None, r"fixed_size_list<.*double"),
        ([np.ones((2, 2), "f4"), [{"a": 1}, {"a": 2}]], None, "has other spaces than the first"),
    ]
    for i, (seen, space, message) in enumerate(cases):
        with FileStorage(tmp_path / f"s{i}") as storage:
            with pytest.raises(InvalidInputError, match="no episodes"):
                export_parquet(TupliDataset(storage), tmp_path / "out")
            into = benchmark(storage)
            for observations in seen:
                storage.record(steps(observations), into, observation_space=space)
            with pytest.raises(InvalidInputError, match=message):
                export_parquet(TupliDataset(storage), tmp_path / "out")
            assert not (tmp_path / "out").exists()


def test_which_of_several_benchmarks_is_told(storage: Any, tmp_path: Path):
    record(storage)
    record(storage, into=benchmark(storage, "run"), first=10)
    report = export_parquet(TupliDataset(storage), tmp_path / "out")
    assert report.left_out == ("which of the 2 benchmarks an episode is of",)
    with pytest.raises(InvalidInputError, match="already"):
        export_parquet(TupliDataset(storage), tmp_path / "out")


def table(**columns: Any) -> Any:
    """A table of four steps with all that is needed, and other columns."""
    needed = {
        "eps_id": [1, 1, 2, 2], "obs": [0.0, 1, 2, 3], "actions": [0, 1, 0, 1],
        "rewards": [1.0, 2, 3, 4], "terminateds": [False, True, False, True],
    }  # fmt: skip
    return pa.table(needed | columns)


def test_numbers_of_episodes_may_be_categories(storage: Any, tmp_path: Path):
    names = pa.array(["a", "a", "b", "b"]).dictionary_encode()
    pq.write_table(table(eps_id=names), tmp_path / "a.parquet")
    report = import_parquet(storage, tmp_path / "a.parquet")
    assert (report.n_episodes, report.n_steps) == (2, 4)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"eps_id": [1.0, np.nan, np.nan, 2.0]}, "'eps_id' is not a number"),
        ({"eps_id": [[1], [1], [2], [2]]}, "'eps_id' is of type"),
        ({"t": [0.0, 1, np.nan, 1]}, "'t' is not a number"),
    ],
)
def test_rows_that_no_episode_can_be_told_for_are_refused(
    columns: dict[str, Any], fault: str, storage: Any, tmp_path: Path
):
    pq.write_table(table(**columns), tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match=fault):
        import_parquet(storage, tmp_path / "a.parquet")


def test_two_columns_of_one_name_are_refused(storage: Any, tmp_path: Path):
    some = table()
    pq.write_table(some.append_column("obs", some["obs"]), tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match="two columns of one name"):
        import_parquet(storage, tmp_path / "a.parquet")
