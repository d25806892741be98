"""What differs between two documents, told from their texts; nothing in them comes to life."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.env import sample_envs
from tests.strategies import BOX_DTYPES, arrays, shapes
from tupli_repo.codec.env import compare, compare_values, encode, parse
from tupli_repo.codec.env.canonical import CanonicalPickler
from tupli_repo.codec.env.document import dump_json
from tupli_repo.errors import CorruptObjectError
from tupli_repo.schema.reports import Difference, ElementsDifference

make_env: Any = gymnasium.make
Row = tuple[str, str, str]


def differences(ours: Any, theirs: Any) -> list[Difference]:
    return compare(encode(ours).text, encode(theirs).text)


def rows(ours: Any, theirs: Any) -> list[Row]:
    """Path and both values; what is on one side only has a minus on the other."""
    found = differences(ours, theirs)
    assert found == mirrored(differences(theirs, ours))
    return [row_of(difference) for difference in found]


def row_of(found: Difference) -> Row:
    ours = "-" if found.kind == "only there" else found.ours
    theirs = "-" if found.kind == "only here" else found.theirs
    return found.path, ours, theirs


def mirrored(found: list[Difference]) -> list[Difference]:
    """The same with the sides exchanged; notes name both sides and are taken over as they are."""
    kinds = {"changed": "changed", "only here": "only there", "only there": "only here"}
    return [
        difference.model_copy(
            update={
                "path": difference.their_path or difference.path,
                "their_path": difference.path if difference.their_path else "",
                "kind": kinds[difference.kind],
                "ours": difference.theirs,
                "theirs": difference.ours,
                "elements": difference.elements
                and difference.elements.model_copy(
                    update={
                        "ours": difference.elements.theirs,
                        "theirs": difference.elements.ours,
                    }
                ),
            }
        )
        for difference in found
    ]


def held(thing: Any, other: Any) -> list[Row]:
    """What differs between two environments that hold something, without the path to it."""
    found = compare(document(thing), document(other))
    prefix = "/base/attributes"
    return [(path.removeprefix(prefix), one, two) for path, one, two in map(row_of, found)]


def document(thing: Any, **parts: Any) -> str:
    """The text of a snapshot that holds ``thing``, its class in a module that does not exist."""
    attributes = CanonicalPickler().attributes([("thing", thing)], "/base")
    base = {"kind": "snapshot", "class": {"py/type": "nowhere.Env"}, "attributes": attributes}
    tree = {"format": "tupli.env/1", "base": base, "wrappers": [], **parts}
    return parse(dump_json(tree)).text


def layer_of(maker: str) -> dict[str, Any]:
    return {"kind": "recipe", "make": {"py/type": maker}}


# ---- layers and parameters -----------------------------------------------------------------------


SAME: dict[str, Any] = {
    "recipe": lambda: make_env("CartPole-v1"),
    "arguments": lambda: make_env("FrozenLake-v1", desc=["SF", "FG"]),
    "snapshot": sample_envs.Everything,
    "mixed": lambda: sample_envs.Counting(sample_envs.Recorded(3), ["a"]),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_equal_differs_in_nothing(name: str):
    assert rows(SAME[name](), SAME[name]()) == []


def test_arguments_are_told_by_name():
    ours = make_env("CartPole-v1", max_episode_steps=50)
    theirs = make_env("CartPole-v1", sutton_barto_reward=True)
    assert rows(ours, theirs) == [
        ("/base/kwargs/sutton_barto_reward", "-", "True"),
        ("/wrappers/1/kwargs/max_episode_steps", "50", "500"),
    ]


def test_a_map_is_compared_row_by_row():
    ours = make_env("FrozenLake-v1", desc=["SF", "FG"])
    assert rows(ours, make_env("FrozenLake-v1", desc=["SF", "HG"])) == [
        ("/base/kwargs/desc/1", "'FG'", "'HG'")
    ]
    assert rows(ours, make_env("FrozenLake-v1", map_name="8x8")) == [
        ("/base/kwargs/desc", "['SF', 'FG']", "-"),
        ("/base/kwargs/map_name", "-", "'8x8'"),
    ]


def test_an_attribute_set_by_hand_is_an_override():
    ours: Any = make_env("CartPole-v1")
    ours.unwrapped.gravity = 5.0
    assert rows(ours, make_env("CartPole-v1")) == [("/base/overrides/gravity", "5.0", "-")]


def test_another_environment_is_another_maker():
    found = rows(make_env("Pendulum-v1", g=9.0), make_env("CartPole-v1", max_episode_steps=200))
    assert found == [
        (
            "/base/make",
            "gymnasium.envs.classic_control.pendulum.PendulumEnv",
            "gymnasium.envs.classic_control.cartpole.CartPoleEnv",
        ),
        ("/base/kwargs/g", "9.0", "-"),
    ]


def test_a_layer_that_was_added_hides_no_change_in_those_above():
    ours = wrappers.TimeLimit(sample_envs.Base(), 10)
    theirs = wrappers.TimeLimit(sample_envs.Scaled(sample_envs.Base(), 2.0), 20)
    (added, changed) = differences(ours, theirs)
    assert row_of(added) == ("/wrappers/0", "-", "Scaled(factor=2.0)")
    assert row_of(changed) == ("/wrappers/0/kwargs/max_episode_steps", "10", "20")
    assert changed.their_path == "/wrappers/1/kwargs/max_episode_steps"
    assert differences(theirs, ours) == mirrored([added, changed])


def test_layers_that_changed_places_are_gone_here_and_there():
    ours = wrappers.TimeLimit(sample_envs.Scaled(sample_envs.Base(), 2.0), 10)
    theirs = sample_envs.Scaled(wrappers.TimeLimit(sample_envs.Base(), 10), 2.0)
    found = differences(ours, theirs)
    assert sorted(difference.kind for difference in found) == ["only here", "only there"]
    assert len({difference.ours + difference.theirs for difference in found}) == 1


def test_an_exchanged_layer_is_another_maker():
    found = rows(
        sample_envs.Scaled(sample_envs.Base(), 2.0), wrappers.TimeLimit(sample_envs.Base(), 9)
    )
    assert [path for path, *_ in found] == [
        "/wrappers/0/make",
        "/wrappers/0/kwargs/factor",
        "/wrappers/0/kwargs/max_episode_steps",
    ]


def test_a_recipe_against_a_snapshot():
    found = rows(sample_envs.Recorded(3), sample_envs.Base())
    assert found[0] == ("/base/kind", "'recipe'", "'snapshot'")
    assert found[1][1:] == (
        "tests.codec.env.sample_envs.Recorded",
        "tests.codec.env.sample_envs.Base",
    )


def test_what_is_volatile_is_told():
    ours, theirs = (document(1, volatile=globs) for globs in (["cache_*"], ["log"]))
    assert [row_of(found) for found in compare(ours, theirs)] == [
        ("/volatile", "'cache_*'", "-"),
        ("/volatile", "-", "'log'"),
    ]


def test_artifacts_are_told_by_id():
    ours, theirs = (document(1, artifacts=ids) for ids in (["aa", "bb"], ["bb", "cc"]))
    assert [row_of(found) for found in compare(ours, theirs)] == [
        ("/artifacts", "'aa'", "-"),
        ("/artifacts", "-", "'cc'"),
    ]
    swapped = compare(document(1, artifacts=["aa", "bb"]), document(1, artifacts=["bb", "aa"]))
    assert [found.note for found in swapped] == ["another order"]


# ---- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (1, 1.0, [("/thing", "1", "1.0")]),
        (True, 1, [("/thing", "True", "1")]),
        (0.0, -0.0, [("/thing", "0.0", "-0.0")]),
        (float("nan"), 1.0, [("/thing", "nan", "1.0")]),
        (float("nan"), float("nan"), []),
        ((1, 2), [1, 2], [("/thing", "(1, 2)", "[1, 2]")]),
        ({"a": 1}, {"a": 2, "b": None}, [("/thing/a", "1", "2"), ("/thing/b", "-", "None")]),
        ({1: "x"}, {1: "y"}, [("/thing/json://1", "'x'", "'y'")]),
        ([1, [2, 3]], [1, [2, 4, 5]], [("/thing/1/1", "3", "4"), ("/thing/1/2", "-", "5")]),
        ({1, "a"}, {1, "b"}, [("/thing", "'a'", "-"), ("/thing", "-", "'b'")]),
        (frozenset({1}), frozenset({1, 2}), [("/thing", "-", "2")]),
        (np.float32(0.1), np.float64(0.1), [("/thing", "float32 0.1", "float64 0.1")]),
        (np.dtype("f4"), np.dtype("f8"), [("/thing", "dtype(descr='<f4')", "dtype(descr='<f8')")]),
        (
            sample_envs.Color.RED,
            sample_envs.Color.BLUE,
            [("/thing", "Color.RED", "Color.BLUE")],
        ),
        (
            sample_envs.Engine(1.0),
            sample_envs.Engine(2.0, (1,)),
            [("/thing/gears/1", "2", "-"), ("/thing/power", "1.0", "2.0")],
        ),
        (sample_envs.Point(1, 2), sample_envs.Point(1, 3), [("/thing/1", "2", "3")]),
        (sample_envs.Stateful(1), sample_envs.Stateful(2), [("/thing/py/state/n", "1", "2")]),
        (
            gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(2)}),
            gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(3)}),
            [("/thing/a/n", "2", "3")],
        ),
        (
            sample_envs.double,
            sample_envs.shaped,
            [
                (
                    "/thing",
                    "tests.codec.env.sample_envs.double",
                    "tests.codec.env.sample_envs.shaped",
                )
            ],
        ),
    ],
)
def test_values_are_told_as_people_read_them(ours: Any, theirs: Any, found: list[Row]):
    assert held(ours, theirs) == found


def test_the_order_of_an_ordered_dict_is_part_of_it():
    sample: Any = sample_envs.Everything().ordered
    other = sample.copy()
    other.move_to_end("z")
    other["new"] = 1
    assert held(sample, other) == [
        ("/thing", "['z', 'a']", "['a', 'z']"),
        ("/thing/new", "-", "1"),
    ]


def test_a_long_text_says_where_it_first_differs():
    (found,) = compare(document("a" * 90 + "b"), document("a" * 90 + "c"))
    assert found.note == "first difference at character 90"
    assert len(found.ours) == 60
    assert found.ours.endswith("...")


def test_what_would_act_on_a_terminal_is_written_out():
    ((path, ours, _),) = held({"\x1b[31m\n": "\x1b[2J"}, {"\x1b[31m\n": 1})
    assert (path + ours).isprintable()


# ---- arrays --------------------------------------------------------------------------------------


def elements(ours: Any, theirs: Any) -> ElementsDifference:
    (found,) = compare(document(ours), document(theirs))
    assert found.path == "/base/attributes/thing"
    assert found.elements is not None
    return found.elements


def test_arrays_tell_how_many_where_first_and_by_how_much():
    wind = np.linspace(-1, 1, 500)
    other = wind.copy()
    other[[7, 9]] += [0.5, -0.25]
    (found,) = differences(sample_envs.WindyMountainCar(wind), sample_envs.WindyMountainCar(other))
    assert found.path == "/base/attributes/wind"
    assert found.ours.startswith("float64[500] -1.0, -0.99")
    assert found.note.startswith("2 of 500 elements differ, first at [7]: -0.97")
    assert found.note.endswith("; by at most 0.5")
    assert found.elements == ElementsDifference(
        count=2, of=500, first_index=[7],
        ours=str(wind[7]), theirs=str(other[7]), max_abs_difference=0.5,
    )  # fmt: skip


def test_the_place_in_an_array_is_an_index_of_its_shape():
    grid = np.arange(12).reshape(3, 4)
    other = grid.copy()
    other[1, 2] = -6
    found = elements(grid, other)
    assert (found.first_index, found.ours, found.theirs) == ([1, 2], "6", "-6")
    assert found.max_abs_difference == 12
    assert elements(np.asfortranarray(grid), np.asfortranarray(other)) == found


def test_dtype_and_shape_go_before_elements():
    (found,) = compare(document(np.ones(9)), document(np.ones(8, dtype="f4")))
    assert (found.ours, found.theirs) == ("float64[9] all 1.0", "float32[8] all 1.0")
    assert (found.note, found.elements) == ("another dtype and shape", None)


def test_how_an_array_lies_in_memory_is_part_of_it():
    grid = np.arange(6.0).reshape(2, 3)
    frozen = grid.astype(">f8")
    frozen.flags.writeable = False
    (found,) = compare(document(np.asfortranarray(grid)), document(frozen))
    assert found.note == "another memory order and read-only and byte order"


def test_a_constant_array_is_compared_with_any_other():
    ramp = np.arange(500.0)
    assert elements(np.ones(500), ramp).count == 499
    assert elements(np.ones(500), ramp).first_index == [0]
    both = elements(np.ones((50, 10)), np.zeros((50, 10)))
    assert (both.count, both.of, both.first_index) == (500, 500, [0, 0])
    assert held(np.ones((2, 10**4)), np.ones((2, 10**4))) == []


def test_differences_that_no_number_holds():
    apart = elements(np.array([0.0, np.nan, 1.0]), np.array([-0.0, 2.0, np.inf]))
    assert (apart.count, apart.max_abs_difference) == (3, 0.0)
    assert elements(np.array([np.nan]), np.array([1.0])).max_abs_difference is None
    far = elements(np.array([-(2**63)]), np.array([2**63 - 1]))
    assert far.max_abs_difference == 2**64 - 1
    assert elements(np.array(["a"]), np.array(["b"])).max_abs_difference is None
    record = np.array([(1, 2.0)], dtype=[("n", "i4"), ("x", "f8")])
    assert elements(record, np.array([(1, 3.0)], dtype=record.dtype)).theirs == "(1, 3.0)"


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("number", [float, np.float64])
def test_a_list_of_numbers_is_told_as_a_whole_where_much_differs(kind: Any, number: Any):
    ours = kind(map(number, range(100)))
    theirs = kind(number(2 * i) for i in range(97))
    (found,) = compare(document(ours), document(theirs))
    assert found.path == "/base/attributes/thing"
    assert found.note.startswith("100 and 97 elements; 96 of 97 elements differ, first at [1]: 1")
    assert found.elements is not None
    assert found.elements.max_abs_difference == 96.0
    single = kind([*ours[:5], number(-1), *ours[6:]])
    assert [path for path, *_ in held(ours, single)] == ["/thing/5"]


@given(st.sampled_from(BOX_DTYPES), shapes(), st.data())
def test_arrays_of_any_bits_tell_exactly_how_many_differ(dtype: Any, shape: Any, data: Any):
    one, other = data.draw(arrays(dtype, shape)), data.draw(arrays(dtype, shape))
    same = [a.tobytes() == b.tobytes() for a, b in zip(one.flat, other.flat, strict=True)]
    if all(same):
        assert held(one, other) == []
    else:
        found = elements(one, other)
        first = tuple(found.first_index)
        assert (found.count, found.of) == (same.count(False), one.size)
        assert np.ravel_multi_index(first, shape) == same.index(False) if shape else not first


# ---- shared values -------------------------------------------------------------------------------


def test_a_reference_whose_number_moved_is_no_difference():
    engine = sample_envs.Engine(1.0)
    ours = {"b": engine, "c": engine}
    theirs = {"a": [[], []], "b": engine, "c": engine}
    assert held(ours, theirs) == [("/thing/a", "-", "[[], []]")]


def test_tuples_have_no_number():
    shared = [5]
    ours, theirs = {"a": (1, ()), "b": shared, "c": shared}, {"b": shared, "c": shared}
    assert held(ours, theirs) == [("/thing/a", "(1, ())", "-")]


def test_where_the_first_mention_went_the_value_is_still_the_same():
    grid = np.arange(3)
    assert held({"a": grid, "b": [grid, grid]}, {"b": [grid, grid]}) == [
        ("/thing/a", "int64[3] 0, 1, 2", "-")
    ]


def test_sharing_is_a_difference_of_its_own():
    engine, twin = sample_envs.Engine(1.0), sample_envs.Engine(1.0)
    (found,) = compare(document([engine, engine]), document([engine, twin]))
    assert row_of(found) == (
        "/base/attributes/thing/1",
        "same as /base/attributes/thing/0",
        "Engine(gears=(1, 2), power=1.0)",
    )
    assert found.note == "shared with another value"


def test_a_shared_value_that_gave_way_in_one_place_is_told_there_only():
    grid = np.arange(3)
    assert held([grid, grid], [None, grid]) == [("/thing/0", "int64[3] 0, 1, 2", "None")]
    assert [path for path, *_ in held([grid, grid], [np.float32(1), grid])] == ["/thing/0"]


def test_a_change_in_a_shared_value_is_told_once():
    ours, theirs = sample_envs.Engine(1.0), sample_envs.Engine(2.0)
    assert held([ours, ours, ours], [theirs, theirs, theirs]) == [("/thing/0/power", "1.0", "2.0")]


def test_values_that_contain_themselves_come_to_an_end():
    ours: Any = [1]
    theirs: Any = [2]
    ours.append(ours)
    theirs.append(theirs)
    assert held(ours, theirs) == [("/thing/0", "1", "2")]
    assert held(ours, [1, [1]])[0] == ("/thing/1", "same as /base/attributes/thing", "[1]")


def test_layers_that_are_mentioned_are_followed_to_where_they_went():
    ours = sample_envs.Counting(sample_envs.Base(), ["a"])
    theirs = sample_envs.Counting(wrappers.TimeLimit(sample_envs.Base(), 3), ["a"])
    assert rows(ours, theirs) == [("/wrappers/0", "-", "TimeLimit(max_episode_steps=3)")]


def test_a_wrapper_that_is_mentioned_may_have_moved():
    def mentioning(index: int, *makers: str) -> str:
        inner = {"inner": {"py/object": "tupli.layer", "index": index}}
        outer = {"kind": "snapshot", "class": {"py/type": "a.Outer"}, "attributes": inner}
        return document(1, wrappers=[*map(layer_of, makers), outer])

    moved = compare(mentioning(1, "a.B"), mentioning(2, "a.New", "a.B"))
    assert [row_of(found) for found in moved] == [("/wrappers/0", "-", "New()")]
    other = compare(mentioning(1, "a.B"), mentioning(0, "a.B"))
    assert [row_of(f) for f in other] == [("/wrappers/1/attributes/inner", "layer 1", "layer 0")]


@given(*[st.lists(st.sampled_from("ABC"), max_size=6)] * 2)
def test_any_two_stacks_are_aligned_alike_from_either_side(one: list[str], other: list[str]):
    texts = [document(1, wrappers=[layer_of(f"a.{m}") for m in makers]) for makers in (one, other)]
    found = compare(*texts)
    assert bool(found) == (one != other)
    assert len(found) <= len(one) + len(other)
    assert compare(*reversed(texts)) == mirrored(found)


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=6),
    st.lists(st.integers(0, 3), min_size=2, max_size=6),
)
def test_whatever_is_shared_something_is_said_just_where_the_texts_differ(
    one: list[int], other: list[int]
):
    pool: list[Any] = [[], [[1]], [[1]], {"k": []}]
    pool[3]["k"] = pool[1]
    texts = [document([pool[i] for i in picks]) for picks in (one, other)]
    found = compare(*texts)
    assert bool(found) == (texts[0] != texts[1])
    assert all(difference.path != "/" for difference in found)
    assert compare(*reversed(texts)) == mirrored(found)


# ---- any tree ------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=3),
    st.binary(max_size=3), st.sampled_from([np.arange(5), np.float32(2), sample_envs.Color.RED]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abc") | st.integers(0, 2), inner, max_size=3)
    ),
    max_leaves=12,
)


def leaves_of(tree: Any, path: str = "/base/attributes/thing") -> list[str]:
    match tree:
        case list() | tuple():
            parts: Any = list(enumerate(tree))
        case dict():
            parts = [(k if type(k) is str else f"json://{k}", v) for k, v in tree.items()]
        case _:
            return [path]
    return [leaf for key, part in parts for leaf in leaves_of(part, f"{path}/{key}")]


def with_leaf(tree: Any, path: str, leaf: Any, at: str = "/base/attributes/thing") -> Any:
    match tree:
        case list() | tuple():
            return type(tree)(with_leaf(v, path, leaf, f"{at}/{i}") for i, v in enumerate(tree))
        case dict():
            keys = {k: k if type(k) is str else f"json://{k}" for k in tree}
            return {k: with_leaf(v, path, leaf, f"{at}/{keys[k]}") for k, v in tree.items()}
        case _:
            return leaf if path == at else tree


@given(TREES)
def test_a_tree_differs_from_itself_in_nothing(tree: Any):
    assert compare(document(tree), document(tree)) == []
    assert compare_values({"x": tree}, {"x": tree}) == []


@given(TREES, LEAVES, st.data())
def test_one_changed_leaf_is_exactly_one_path(tree: Any, leaf: Any, data: Any):
    paths = leaves_of(tree)
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    ours, theirs = document(tree), document(with_leaf(tree, path, leaf))
    expected = [] if ours == theirs else [path]
    assert [found.path for found in compare(ours, theirs)] == expected
    values = compare_values({"thing": tree}, {"thing": with_leaf(tree, path, leaf)})
    assert [f"/base/attributes{found.path}" for found in values] == expected


@given(TREES, TREES)
def test_exchanging_the_two_exchanges_the_sides(one: Any, other: Any):
    ours, theirs = document(one), document(other)
    found, back = compare(ours, theirs), compare(theirs, ours)
    assert bool(found) == (ours != theirs)
    assert all(difference.path != "/" for difference in found)
    notes = [difference.note for difference in found]
    assert [d.model_copy(update={"note": n}) for d, n in zip(back, notes, strict=True)] == (
        mirrored(found)
    )


# ---- other texts, damage, and what never happens -------------------------------------------------


def test_other_texts_are_compared_as_texts():
    (found,) = compare("one\ntwo three\n", "one\ntwo four\n")
    assert found.note == "the texts differ from line 2, column 5"
    assert (found.ours, found.theirs) == ("'three\\n'", "'four\\n'")
    assert compare("x", "x") == []
    assert len(compare("x", document(1))) == 1


def test_a_damaged_document_is_an_error():
    with pytest.raises(CorruptObjectError):
        compare(document(1), document(1).replace("snapshot", "snapsh0t"))


def test_arrays_whose_fields_do_not_fit_are_compared_by_field():
    array = {"py/object": "numpy.ndarray", "dtype": "<f8", "shape": [3], "data": {"py/b64": "AA=="}}
    texts = []
    for shape in ([3], [1 << 60], ["x"]):
        attributes = {"thing": {**array, "shape": shape}}
        base = {"kind": "snapshot", "class": {"py/type": "a.B"}, "attributes": attributes}
        texts.append(dump_json({"format": "tupli.env/1", "base": base, "wrappers": []}))
    assert [row_of(found) for found in compare(texts[0], texts[1])] == [
        ("/base/attributes/thing/shape/0", "3", str(1 << 60))
    ]
    assert len(compare(texts[0], texts[2])) == 1
    whole = compare(texts[0], document(1).replace("nowhere.Env", "a.B"))
    assert [found.ours for found in whole] == ["a damaged array"]


def test_comparing_imports_nothing_that_is_named(tmp_path: Path):
    """Neither a module that is there, which would leave a file, nor one that is not."""
    (tmp_path / "spy.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'was_imported')!r}).write_text('x')\n"
    )
    layer = {"kind": "recipe", "make": {"py/type": "spy.Wrapper"}, "kwargs": {"n": 1}}
    thing = {"py/object": "spy.Thing", "f": {"py/function": "nowhere.at_all"}}
    base = {"kind": "snapshot", "class": {"py/type": "spy.Env"}, "attributes": {"thing": thing}}
    tree = {"format": "tupli.env/1", "base": base, "wrappers": [layer]}
    (tmp_path / "ours").write_text(dump_json(tree))
    layer["kwargs"] = {"n": 2}
    thing["f"] = {"py/type": "spy.Other"}
    (tmp_path / "theirs").write_text(dump_json(tree))
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tupli_repo.codec.env import compare, encode
        compare('a', 'b')
        events = []
        sys.addaudithook(lambda event, args: events.append((event, str(args[:1]))))
        ours, theirs = Path('ours').read_text(), Path('theirs').read_text()
        found = compare(ours, theirs)
        bad = [e for e in events if e[0] in ('import', 'exec', 'compile', 'marshal.loads')
               or e[0].startswith(('pickle', 'subprocess', 'os.', 'socket'))]
        print([d.path for d in found], bad, 'spy' in sys.modules)
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    paths = ["/base/attributes/thing/f", "/wrappers/0/kwargs/n"]
    assert done.stdout == f"{paths} [] False\n"
    assert not (tmp_path / "was_imported").exists()
