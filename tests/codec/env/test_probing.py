"""What an episode changes: found by running copies, or said by whoever knows."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from tests.codec.env import faulty_envs, sample_envs
from tests.codec.env.families import STACKS, play
from tupli_repo.codec.env import check_round_trip, decode, encode, parse
from tupli_repo.codec.env.attributes import usually_volatile
from tupli_repo.codec.env.leaves import attribute_names
from tupli_repo.codec.env.probing import find_volatile
from tupli_repo.codec.env.recipe import plan_layers
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError

make_env: Any = gymnasium.make

VOLATILE = ["position", "steps", "log", "/base/heat/left"]


def test_without_probing_a_slow_simulator_is_never_run():
    faulty_envs.Slow.calls = 0
    document = encode(faulty_envs.Slow(), probe=False, volatile=VOLATILE)
    assert faulty_envs.Slow.calls == 0
    loaded: Any = decode(document, TrustPolicy())
    assert loaded.heat == {"left": 0.0, "right": 20.0}
    assert loaded.speed == 1.0
    assert faulty_envs.Slow.calls == 0


def test_without_probing_use_does_not_change_the_text():
    env: Any = faulty_envs.Slow()
    text = encode(env, probe=False, volatile=VOLATILE).text
    play(env)
    assert len(env.log) > 1
    assert encode(env, probe=False, volatile=VOLATILE).text == text
    env.speed = 2.0
    assert encode(env, probe=False, volatile=VOLATILE).text != text


def test_without_probing_a_snapshot_has_to_be_told_what_episodes_change():
    with pytest.raises(EncodingError, match=r"'/base'.*without probing") as caught:
        encode(faulty_envs.Slow(), probe=False)
    assert "volatile=[" in caught.value.hint


def test_without_probing_recipes_are_as_with_it():
    for make in (
        lambda: make_env("CartPole-v1"),
        lambda: wrappers.TimeLimit(sample_envs.Recorded(4, speed=2.0), 9),
        STACKS["statistics"],
        STACKS["stacked"],
    ):
        assert encode(make(), probe=False).text == encode(make()).text


def test_without_probing_what_is_changed_counts_and_is_told():
    env = make_env("Pendulum-v1")
    env.unwrapped.g = 3.0
    with pytest.warns(UserWarning, match="'/base/g' is not what a new environment has"):
        document = encode(env, probe=False)
    assert document.text == encode(env).text
    env.reset(seed=1)
    with pytest.warns(UserWarning, match="/base"):
        assert encode(env, probe=False).text != document.text
    with pytest.warns(UserWarning, match="'/base/g'"):
        again = encode(env, probe=False, volatile=["state", "last_u"])
    assert '"g":3.0' in again.text
    assert "last_u" not in again.text.partition('"volatile"')[0]


def test_without_probing_what_a_constructor_draws_is_no_configuration():
    env: Any = faulty_envs.DrawsWhenMade(4)
    text = encode(env, probe=False).text
    assert encode(faulty_envs.DrawsWhenMade(4), probe=False).text == text
    assert encode(faulty_envs.DrawsWhenMade(5), probe=False).text != text
    assert "rooms" not in text
    check_round_trip(encode(env, probe=False), env, probe=False)


def test_what_is_named_is_part_of_the_document_and_its_value_is_not():
    env: Any = sample_envs.Holder({"count": 3, "limit": 9})
    document = encode(env, volatile=["/base/thing/count"])
    assert '"volatile":["/base/thing/count"]' in document.text
    env.thing["count"] = 4
    assert encode(env, volatile=["/base/thing/count"]).text == document.text
    env.thing["limit"] = 8
    assert encode(env, volatile=["/base/thing/count"]).text != document.text
    loaded: Any = decode(document, TrustPolicy())
    assert loaded.thing == {"count": 0, "limit": 9}
    assert encode(loaded, volatile=["/base/thing/count"]).text == document.text
    one = encode(env, volatile=["thing", "steps", "steps"])
    assert one.text == encode(env, volatile=["steps", "thing"]).text


def test_a_name_means_an_attribute_and_not_a_key_inside_one():
    env = sample_envs.Holder({"thing": 3})
    assert decode(encode(env, volatile=["thin?"]), TrustPolicy()).thing == {}  # type: ignore[attr-defined]
    inner = sample_envs.Holder({"steps": 3})
    assert decode(encode(inner, volatile=["*steps"]), TrustPolicy()).thing == {"steps": 3}  # type: ignore[attr-defined]


def test_what_grows_is_empty_in_the_document():
    env: Any = sample_envs.Holder([1, 2, 3])
    text = encode(env, volatile=["thing"]).text
    env.thing.append(4)
    assert encode(env, volatile=["thing"]).text == text


def test_a_changed_part_next_to_a_named_one_is_restored():
    env = make_env("CartPole-v1")
    env.unwrapped.extra = {"limit": 3, "count": 5}
    document = encode(env, volatile=["/base/extra/count"])
    loaded: Any = decode(document, TrustPolicy())
    assert loaded.unwrapped.extra == {"limit": 3, "count": 0}
    env.unwrapped.extra["count"] = 6
    assert encode(env, volatile=["/base/extra/count"]).text == document.text


@pytest.mark.parametrize("globs", ["[]", "1", '[""]]', "[1]", '{"a":1}', '"x"'])
def test_globs_in_a_document_are_a_list_of_texts(globs):
    text = encode(sample_envs.Base(), volatile=["steps"]).text
    with pytest.raises(CorruptObjectError):
        parse(text.replace('"volatile":["steps"]', f'"volatile":{globs}'))


def test_the_wrappers_that_are_known_without_probing_are_known_rightly():
    def base():
        return make_env("MountainCarContinuous-v0").unwrapped

    stacks = [
        wrappers.Autoreset(base()),
        wrappers.DelayObservation(base(), 2),
        wrappers.FrameStackObservation(base(), 3),
        wrappers.MaxAndSkipObservation(base(), 2),
        wrappers.NormalizeObservation(base()),
        wrappers.NormalizeReward(base()),
        wrappers.OrderEnforcing(base()),
        wrappers.RecordEpisodeStatistics(base()),
        wrappers.StickyAction(base(), 0.3),
        wrappers.TimeAwareObservation(wrappers.TimeLimit(base(), 5)),
        wrappers.ClipReward(base(), -1.0, 1.0),
    ]
    for env in stacks:
        plan = plan_layers(env)
        for index, paths in enumerate(find_volatile(plan)):
            if index:
                wrapper = type(plan.live[index])
                assert attribute_names(paths, index) <= usually_volatile(wrapper), wrapper


def test_a_count_is_stored_as_zero_with_one_warning_and_one_text():
    env: Any = faulty_envs.CountsEpisodes()
    with pytest.warns(
        UserWarning, match=r"'/base/episodes', '/base/seen/steps', '/base/total'"
    ) as told:
        text = encode(env).text
    assert len(told) == 1
    assert "volatile=['episodes', '/base/seen/steps', 'total']" in str(told[0].message)
    play(env)
    assert (env.episodes > 0, type(env.total)) == (True, float)
    with pytest.warns(UserWarning, match="zero is stored"):
        document = encode(env)
    assert document.text == text
    loaded: Any = decode(document, TrustPolicy())
    assert (loaded.episodes, loaded.total, loaded.seen) == (0, 0.0, {"steps": 0})
    with pytest.warns(UserWarning, match="zero is stored"):
        assert encode(loaded).text == text


def test_what_is_named_as_volatile_is_not_warned_about():
    env = faulty_envs.CountsEpisodes()
    named = ["episodes", "total", "/base/seen/*"]
    check_round_trip(encode(env, volatile=named), env, volatile=named)
    with pytest.warns(UserWarning, match="^'/base/episodes' depends") as told:
        encode(env, volatile=["total", "/base/seen/*"])
    assert len(told) == 1


@pytest.mark.parametrize("make", [faulty_envs.Computes, faulty_envs.ComputesUnrecorded])
def test_what_a_property_computes_is_no_configuration_and_what_is_set_is(make):
    text = encode(make()).text
    env = make()
    env.reset(seed=3)
    play(env)
    assert "table" in vars(env)
    assert encode(env).text == text
    env.table = np.full(3, 777.0)
    changed = encode(env)
    assert changed.text != text
    check_round_trip(changed, env)
    loaded: Any = decode(changed, TrustPolicy())
    assert loaded.table.tolist() == [777.0] * 3
    assert encode(loaded).text == changed.text


def test_what_is_computed_from_a_change_is_that_change():
    one, two = faulty_envs.Computes(), faulty_envs.Computes()
    one.scale = two.scale = 5.0
    assert two.table[1] == 5.0
    assert encode(one).text == encode(two).text


def test_a_change_that_is_left_out_is_told():
    env = make_env("CartPole-v1")
    play(env)
    encode(env, exclude=["gravity", "state"])
    env.unwrapped.gravity = 5.0
    cases: list[dict[str, Any]] = [{"exclude": ["grav*", "state"]}, {"volatile": ["gravity"]}]
    for options in cases:
        with pytest.warns(UserWarning, match="'/base/gravity' was changed, and is left out"):
            encode(env, **options)


def test_a_count_that_is_left_out_is_no_change():
    env: Any = wrappers.RecordEpisodeStatistics(make_env("CartPole-v1"))
    play(env)
    encode(env, exclude=["episode_count"])


def test_a_name_that_nothing_has_is_an_error():
    cases: list[dict[str, Any]] = [{"exclude": ["gravty"]}, {"volatile": ["gravty"]}]
    for options in cases:
        with pytest.raises(InvalidInputError, match="'gravty' names nothing") as caught:
            encode(make_env("CartPole-v1"), **options)
        assert "gravity" in caught.value.hint
    with pytest.raises(InvalidInputError, match="'/base/thing/x'"):
        encode(sample_envs.Holder({"y": 3}), volatile=["/base/thing/y", "/base/thing/x"])


def test_a_name_that_only_an_episode_brings_is_known():
    fresh = make_env("Pendulum-v1")
    assert not hasattr(fresh.unwrapped, "last_u")
    encode(fresh, volatile=["last_u"], exclude=["last_u"])


def test_a_loaded_environment_is_stored_with_the_same_names():
    env: Any = sample_envs.Holder(3)
    env.cache = [1]
    document = encode(env, exclude=["cache"])
    assert encode(decode(document, TrustPolicy()), exclude=["cache"]).text == document.text


def test_an_argument_that_running_changes_is_refused():
    with pytest.raises(EncodingError, match="'/base/trail' is an argument") as caught:
        encode(faulty_envs.ChangesItsArgument([]))
    assert "copy it" in caught.value.hint
    env = faulty_envs.ChangesItsArgument([1], copies=True)
    text = encode(env).text
    play(env)
    assert encode(env).text == text
