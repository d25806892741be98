"""The models of what is stored: PyTupli's names and defaults, and what is our own."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

import tupli_repo.schema
from tupli_repo.errors import InvalidInputError
from tupli_repo.schema import (
    ArtifactMetadata,
    ArtifactMetadataItem,
    Benchmark,
    BenchmarkHeader,
    BenchmarkMetadata,
    BenchmarkQuery,
    DBItem,
    Episode,
    EpisodeHeader,
    EpisodeItem,
    EpisodeMetadataCallback,
    RLTuple,
    utc_now,
)


class Graph(NamedTuple):
    nodes: object
    edges: object
    edge_links: object


def step(*, terminal: bool = False, timeout: bool = False) -> RLTuple:
    return RLTuple(state=[0.0], action=1, reward=1.0, terminal=terminal, timeout=timeout)


def test_importing_the_schema_loads_nothing_heavy() -> None:
    heavy = {"numpy", "gymnasium", "pandas", "torch"}
    code = f"import sys, tupli_repo.schema; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_public_name_is_there_once() -> None:
    names = tupli_repo.schema.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(tupli_repo.schema, name) for name in names)


@pytest.mark.parametrize(
    ("model", "required", "optional"),
    [
        (DBItem, {"id", "created_by", "created_at"}, {"published_in": []}),
        (ArtifactMetadata, {"name"}, {"description": "", "benchmark_id": None, "extra": {}}),
        (
            BenchmarkMetadata,
            {"name"},
            {"description": "", "difficulty": None, "version": None, "extra": {}},
        ),
        (
            BenchmarkQuery,
            {"hash", "serialized", "metadata"},
            {"wrapper": "", "packages": {}, "sources": {}, "evaluation": ""},
        ),
        (
            ArtifactMetadataItem,
            {"id", "created_by", "created_at", "name", "hash"},
            {
                "published_in": [],
                "description": "",
                "benchmark_id": None,
                "extra": {},
                "encoding": "utf-8",
                "size": None,
            },
        ),
        (
            BenchmarkHeader,
            {"id", "created_by", "created_at", "hash", "metadata"},
            {"published_in": [], "env": "", "env_format": "", "wrapper": "", "evaluation": ""},
        ),
        (
            Benchmark,
            {"id", "created_by", "created_at", "hash", "metadata", "serialized"},
            {"published_in": [], "env": "", "env_format": "", "wrapper": "", "evaluation": ""},
        ),
        (
            RLTuple,
            {"state", "action", "reward"},
            {"info": {}, "terminal": False, "timeout": False},
        ),
        (
            Episode,
            {"benchmark_id", "metadata", "tuples"},
            {"final_state": None, "seed": None, "options": None, "reset_info": {}},
        ),
        (
            EpisodeHeader,
            {
                "id",
                "created_by",
                "created_at",
                "benchmark_id",
                "metadata",
                "n_tuples",
                "terminated",
                "timeout",
            },
            {"published_in": [], "seed": None},
        ),
    ],
)
def test_fields_and_defaults_are_the_promised_ones(
    model: type[BaseModel], required: set[str], optional: dict[str, Any]
) -> None:
    fields = model.model_fields
    assert {name for name, field in fields.items() if field.is_required()} == required
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in fields.items()
        if not field.is_required()
    }
    assert defaults == optional


def test_an_episode_item_has_all_of_episode_and_header() -> None:
    both = set(Episode.model_fields) | set(EpisodeHeader.model_fields)
    assert set(EpisodeItem.model_fields) == both
    assert issubclass(EpisodeItem, Episode)
    assert issubclass(EpisodeItem, EpisodeHeader)
    assert "tuples" not in EpisodeHeader.model_fields


def test_mutable_defaults_are_not_shared() -> None:
    one, other = BenchmarkMetadata(name="a"), BenchmarkMetadata(name="a")
    one.extra["k"] = 1
    assert other.extra == {}
    first, second = step(), step()
    first.info["k"] = 1
    assert second.info == {}


def test_the_time_is_utc_to_the_microsecond_and_sorts_as_text() -> None:
    before, text, after = datetime.now(UTC), utc_now(), utc_now()
    parsed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert before <= parsed <= datetime.now(UTC)
    assert len(text) == len("2025-01-31T12:00:00.000000Z")
    assert text <= after


def test_create_new_makes_up_id_time_and_group() -> None:
    one = DBItem.create_new(created_by="ada")
    other = DBItem.create_new(created_by="ada")
    assert len(one.id) == 32
    assert int(one.id, 16) >= 0
    assert one.id != other.id
    assert one.published_in == ["ada"]
    assert one.created_at.endswith("Z")


def test_create_new_keeps_what_it_is_given_and_checks_it() -> None:
    item = BenchmarkHeader.create_new(
        id="f" * 64, created_by="ada", hash="h", metadata={"name": "x"}, published_in=["lab"]
    )
    assert type(item) is BenchmarkHeader
    assert (item.id, item.published_in, item.metadata.name) == ("f" * 64, ["lab"], "x")
    with pytest.raises(ValidationError, match="created_by"):
        DBItem.create_new()


@pytest.mark.parametrize(
    "as_given", [lambda t: t, lambda t: t.model_dump()], ids=["objects", "dicts"]
)
def test_a_new_episode_item_takes_count_and_flags_from_its_tuples(
    as_given: Callable[[RLTuple], object],
) -> None:
    tuples = [as_given(t) for t in (step(), step(), step(terminal=True))]
    item = EpisodeItem.create_new(
        benchmark_id="b", metadata={"m": 1}, tuples=tuples, created_by="ada", seed=3, n_tuples=99
    )
    assert (item.n_tuples, item.terminated, item.timeout, item.seed) == (3, True, False, 3)
    assert item.tuples == [step(), step(), step(terminal=True)]
    assert item.published_in == ["ada"]
    cut = EpisodeItem.create_new(
        benchmark_id="b",
        metadata={},
        tuples=[as_given(step()), as_given(step(timeout=True))],
        created_by="ada",
    )
    assert (cut.n_tuples, cut.terminated, cut.timeout) == (2, False, True)


@pytest.mark.parametrize("tuples", [{"tuples": []}, {"tuples": None}, {}])
def test_an_episode_without_steps_is_refused(tuples: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="episode has no steps"):
        EpisodeItem.create_new(benchmark_id="b", metadata={}, created_by="ada", **tuples)


def test_an_episode_needs_a_benchmark() -> None:
    with pytest.raises(ValidationError, match="benchmark_id"):
        Episode.model_validate({"benchmark_id": None, "metadata": {}, "tuples": []})


def test_a_subclass_of_the_tuple_stays_what_it_is() -> None:
    class Costly(RLTuple):
        cost: float = 0.0

    made = Costly.from_env_step([0], 1, 1.0, False, False, {})
    assert type(made) is Costly
    assert Episode(benchmark_id="b", metadata={}, tuples=[made]).tuples[0] is made


@pytest.mark.parametrize(
    ("observation", "state"),
    [
        (np.array([1.0, 2.0], dtype=np.float32), [1.0, 2.0]),
        (np.int64(3), 3),
        (5, 5),
        (True, True),
        ("north", "north"),
        (None, None),
        ((np.int64(1), np.zeros(1)), (1, [0.0])),
        ({"camera": np.zeros((1, 1), np.uint8), "n": 2}, {"camera": [[0]], "n": 2}),
        (
            Graph(nodes=np.ones((1, 1)), edges=None, edge_links=None),
            {"nodes": [[1.0]], "edges": None, "edge_links": None},
        ),
    ],
)
def test_a_step_takes_any_observation_and_action(observation: object, state: object) -> None:
    made = RLTuple.from_env_step(observation, observation, 0.0, False, False, {})
    assert repr(made.state) == repr(state)
    assert repr(made.action) == repr(state)


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.array([1.0, 2.0]), [1.0, 2.0]),
        ([np.float64(1.0), 2.0], [1.0, 2.0]),
        (1, 1),
        (Fraction(1, 2), 0.5),
    ],
)
def test_a_reward_becomes_numbers_of_python(reward: Any, expected: object) -> None:
    made = RLTuple.from_env_step(0, 0, reward, False, False, {})
    assert repr(made.reward) == repr(expected)


def test_the_flags_become_bools_and_the_info_is_copied() -> None:
    array = np.zeros(1)
    info = {"array": array}
    yes, no = np.array([True, False])
    made = RLTuple.from_env_step(0, 0, 0.0, yes, no, info)
    assert (made.terminal, made.timeout) == (True, False)
    assert type(made.terminal) is bool
    info["later"] = array
    assert list(made.info) == ["array"]
    assert made.info["array"] is array


def test_models_that_hold_arrays_compare_by_content_and_have_a_repr() -> None:
    def made(last: int) -> Episode:
        one = RLTuple(state=np.array([0, last]), action=np.int64(1), reward=1.0)
        return Episode(
            benchmark_id="b", metadata={"a": np.zeros(2)}, tuples=[one], final_state=np.arange(2)
        )

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert made(1) != "something else"
    assert "array([0, 1])" in repr(made(1))
    assert made(1).model_copy(deep=True) == made(1)


def test_items_of_two_classes_are_not_equal() -> None:
    data = {"id": "1", "created_by": "ada", "created_at": "now"}
    assert DBItem(**data) != EpisodeItem.create_new(
        **data, benchmark_id="b", metadata={}, tuples=[step()]
    )
    assert DBItem(**data) == DBItem(**data)


def test_models_that_hold_arrays_become_json() -> None:
    item = EpisodeItem.create_new(
        benchmark_id="b",
        metadata={"return": np.float32(2), "nested": {"a": [np.arange(2)]}},
        tuples=[RLTuple(state=np.zeros(2), action=np.int64(1), reward=np.float32(0.5))],
        created_by="ada",
    )
    read = EpisodeItem.model_validate_json(item.model_dump_json())
    assert read == item
    assert read.metadata == {"return": 2.0, "nested": {"a": [[0, 1]]}}
    assert read.tuples[0].state == [0.0, 0.0]
    assert isinstance(item.model_dump()["metadata"]["return"], np.float32)


def test_benchmark_and_artifact_survive_json() -> None:
    benchmark = Benchmark.create_new(
        created_by="ada",
        hash="h",
        metadata=BenchmarkMetadata(name="x", extra={"k": [1, None]}),
        serialized="{}",
        env="e" * 64,
    )
    assert Benchmark.model_validate_json(benchmark.model_dump_json()) == benchmark
    artifact = ArtifactMetadataItem.create_new(created_by="ada", name="x", hash="h", size=2**40)
    assert ArtifactMetadataItem.model_validate_json(artifact.model_dump_json()) == artifact


def test_a_metadata_callback_must_define_both_of_its_methods() -> None:
    class Half(EpisodeMetadataCallback):
        def reset(self) -> None: ...

    class Return(EpisodeMetadataCallback):
        def __init__(self) -> None:
            self.reset()

        def reset(self) -> None:
            self.total = 0.0

        def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002
            self.total += tuple.reward
            return {"return": self.total}

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]
    callback = Return()
    callback(step())
    assert callback(step()) == {"return": 2.0}
