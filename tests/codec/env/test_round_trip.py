"""What was stored comes back, runs the same, and the live environment never notices."""

import copy
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from tests.codec.env import sample_envs
from tests.codec.env.families import STACKS, trajectory
from tupli_repo.codec.env import decode, encode, is_document, parse, untrusted_names
from tupli_repo.codec.env.attributes import raw_attributes
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import EncodingError

make_env: Any = gymnasium.make
decoded: Any = decode

OURS = TrustPolicy(["tests.codec.*", "tests.codec.env.sample_envs.make_wrapped"])


def through(env, **options):
    return decoded(encode(env, **options), OURS)


@pytest.mark.parametrize(
    ("env_id", "name", "value"),
    [
        ("CartPole-v1", "gravity", 5.0),
        ("Pendulum-v1", "max_torque", 0.5),
        ("MountainCar-v0", "force", 0.002),
        ("Acrobot-v1", "LINK_MASS_1", 2.0),
        ("MountainCarContinuous-v0", "power", 0.002),
        ("Blackjack-v1", "sab", False),
    ],
)
def test_a_parameter_changed_by_hand_is_seen_and_restored(env_id, name, value):
    env = make_env(env_id)
    before = encode(env).text
    setattr(env.unwrapped, name, value)
    assert encode(env).text != before
    loaded = through(env)
    assert getattr(loaded.unwrapped, name) == value
    assert encode(loaded).text == encode(env).text
    assert trajectory(loaded) == trajectory(env)
    play_on = encode(env).text  # after use
    assert play_on == encode(loaded).text


def test_a_wrapper_changed_by_hand_is_seen_and_restored():
    env = make_env("CartPole-v1")
    env._max_episode_steps = 7
    assert through(env)._max_episode_steps == 7


def test_an_override_of_an_earlier_document_can_change_again():
    env = make_env("CartPole-v1")
    env.unwrapped.gravity = 5.0
    loaded = through(env)
    loaded.unwrapped.gravity = 9.8
    assert encode(loaded).text == encode(make_env("CartPole-v1")).text


def test_the_state_of_an_episode_is_no_override():
    env = make_env("CartPole-v1")
    text = encode(env).text
    env.reset(seed=0)
    for _ in range(60):
        env.step(1)
        if env.unwrapped.steps_beyond_terminated is not None:
            break
    env.unwrapped.state = np.array([9.0, 9.0, 9.0, 9.0])
    assert encode(env).text == text


def test_every_kind_of_attribute_comes_back():
    live, loaded = sample_envs.Everything(), through(sample_envs.Everything())
    for name in (
        "table",
        "names",
        "frozen",
        "engine",
        "wheel",
        "corner",
        "home",
        "when",
        "day",
        "at",
        "pause",
        "price",
        "share",
        "ordered",
        "lists",
        "raw",
        "buffer",
        "complex",
        "span",
        "scalar",
        "kind",
        "measure",
        "number",
        "spaces",
    ):
        assert getattr(loaded, name) == getattr(live, name), name
        assert type(getattr(loaded, name)) is type(getattr(live, name)), name
    assert repr(loaded.nested) == repr(live.nested)
    assert loaded.color is sample_envs.Color.BLUE
    assert loaded.level is sample_envs.Level.HIGH
    assert list(loaded.ordered) == ["z", "a"]
    assert loaded.lists["new"] == []
    assert loaded.recent.maxlen == 4
    assert loaded.shape_reward(3.0) == 6.0
    assert raw_attributes(loaded.slotted) == raw_attributes(live.slotted)
    assert loaded.stateful.n == 4
    assert loaded.stateful.cache() == 4
    assert loaded.rng.bit_generator.state != np.random.default_rng(7).bit_generator.state


@pytest.mark.parametrize("name", ["grid", "fortran", "mask", "words", "table_rows"])
def test_arrays_come_back_to_the_bit(name):
    live = getattr(sample_envs.Everything(), name)
    loaded = getattr(through(sample_envs.Everything()), name)
    assert loaded.dtype == live.dtype
    assert loaded.dtype.byteorder == live.dtype.byteorder
    assert loaded.shape == live.shape
    assert loaded.tobytes() == live.tobytes()
    assert loaded.flags.f_contiguous == live.flags.f_contiguous
    assert loaded.flags.writeable


def test_odd_arrays_come_back():
    frozen = np.arange(3)
    frozen.flags.writeable = False
    odd = [
        np.float64(-0.0),
        np.array(7),
        np.zeros((0, 3)),
        frozen,
        np.array([np.nan, -np.inf, -0.0]),
        np.datetime64("2024-01-02"),
        np.array(["NaT", "2020-01-01"], dtype="M8[ns]"),
        np.str_("é"),
        np.bool_(True),
        np.zeros((2, 3, 4))[:, ::2],
        np.float16(1.5),
        np.full((3, 3), 2j),
    ]
    loaded = through(sample_envs.Holder(odd)).thing
    for before, after in zip(odd, loaded, strict=True):
        assert type(after) is type(before)
        assert np.asarray(after).dtype == np.asarray(before).dtype
        assert np.asarray(after).shape == np.asarray(before).shape
        assert np.asarray(after).tobytes() == np.asarray(before).tobytes()
    assert not loaded[3].flags.writeable


def test_aliases_and_cycles_come_back():
    loaded = through(sample_envs.Everything())
    assert loaded.engine is loaded.spare
    assert loaded.grid is loaded.same_grid
    assert loaded.me is loaded
    ring: list[Any] = [1]
    ring.append({"ring": ring})
    restored = through(sample_envs.Holder(ring)).thing
    assert restored[1]["ring"] is restored
    counting = through(sample_envs.Counting(wrappers.TimeLimit(sample_envs.Base(), 5), ["a"]))
    assert counting.inner_base is counting.unwrapped


def test_a_function_that_wraps_is_an_entry_point_too():
    gymnasium.register("TupliSample-v0", entry_point="tests.codec.env.sample_envs:make_wrapped")
    env = make_env("TupliSample-v0", limit=7)
    assert untrusted_names(encode(env).text, TrustPolicy()) == []  # this process wrote it
    loaded = through(env)
    assert str(loaded) == "<OrderEnforcing<TimeLimit<Base instance>>>"
    assert trajectory(loaded) == trajectory(env)
    env.env.env._max_episode_steps = 3
    with pytest.raises(EncodingError, match="_max_episode_steps"):
        encode(env)


def test_the_live_environment_is_left_alone():
    for make in (
        sample_envs.Everything,
        STACKS["windy-limited"],
        STACKS["statistics"],
        STACKS["sticky"],
    ):
        env, twin = make(), make()
        actions = copy.deepcopy(env.action_space)
        for run in (env, twin):
            actions.seed(2)
            run.reset(seed=4)
            for _ in range(5):
                run.step(actions.sample())
        before = {name: id(value) for name, value in vars(env.unwrapped).items()}
        encode(env)
        assert {name: id(value) for name, value in vars(env.unwrapped).items()} == before
        for _ in range(20):
            action = actions.sample()
            ours, theirs = env.step(action), twin.step(action)
            assert repr(ours[:4]) == repr(theirs[:4])
            if ours[2] or ours[3]:
                assert repr(env.reset()) == repr(twin.reset())
        assert env.unwrapped.np_random.random() == twin.unwrapped.np_random.random()


def test_how_it_renders_is_said_when_loading():
    document = encode(make_env("CartPole-v1"))
    assert decoded(document, OURS).render_mode is None
    assert decoded(document, OURS, render_mode="rgb_array").render_mode == "rgb_array"
    windy = encode(sample_envs.WindyMountainCar(np.ones(3)))
    assert decoded(windy, OURS, render_mode="rgb_array").render_mode == "rgb_array"


def test_what_depends_on_use_is_warned_about():
    with pytest.warns(UserWarning, match="/base/total"):
        encode(sample_envs.Remembering())


def test_a_text_is_recognised_and_parsed_without_importing():
    document = encode(make_env("CartPole-v1"))
    assert is_document(document.text)
    assert parse(document.text) == document
    assert not is_document('{"py/object": "gymnasium.Env"}')
    assert not is_document("")


def test_an_attribute_in_the_place_of_a_method_is_refused():
    for env in (sample_envs.Holder([]), make_env("CartPole-v1").unwrapped):
        vars(env)["reset"] = None
        with pytest.raises(EncodingError, match="'/base/reset'"):
            encode(env)


def test_what_a_wrapper_hides_in_a_closure_is_not_lost():
    assert trajectory(through(sample_envs.HiddenScale(sample_envs.Base()))) == trajectory(
        sample_envs.HiddenScale(sample_envs.Base())
    )
    with pytest.raises(EncodingError, match="/wrappers/0/func"):
        encode(sample_envs.HiddenScale(sample_envs.Base(), 3.0))


def test_the_environment_of_a_document_is_new_each_time():
    document = encode(sample_envs.Everything())
    one, two = decoded(document, OURS), decoded(document, OURS)
    one.grid[:] = 0
    assert two.grid.any()
    assert one.related_artifacts == []


READER = """
import json, sys
from tests.codec.env.families import trajectory
from tests.codec.env.test_round_trip import OURS
from tupli_repo.codec.env import decode, parse
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import UntrustedCodeError
document = parse(sys.stdin.read())
try:
    decode(document, TrustPolicy())
except UntrustedCodeError as err:
    print(list(err.names))
print(repr(trajectory(decode(document, OURS))))
"""


def test_another_process_needs_the_grant_and_then_runs_it_the_same():
    make = STACKS["windy-limited"]
    done = subprocess.run(
        [sys.executable, "-c", READER],
        input=encode(make()).text,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    names, seen = done.stdout.splitlines()
    assert names == "['tests.codec.env.sample_envs.WindyMountainCar']"
    assert seen == repr(trajectory(make()))


def test_deep_values_come_back():
    tower: list[Any] = []
    for _ in range(80):
        tower = [tower]
    assert through(sample_envs.Holder(tower)).thing == tower
