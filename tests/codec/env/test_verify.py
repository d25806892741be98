"""The closing check lets through what comes back, and says what does not."""

import functools
import random
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from tests.codec.env import faulty_envs, sample_envs
from tests.codec.env.families import play
from tupli_repo.codec.env import check_round_trip, decode, encode
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import EncodingError

make_env: Any = gymnasium.make

WIND = np.linspace(-0.5, 0.5, 500)
ARTIFACT = "ab" * 32


def check(env, **options):
    complete = options.pop("complete", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what encode has to say is not what is looked at
        document = encode(env, **options)
    check_round_trip(document, env, complete=complete, **options)


def refused(env, **options):
    with pytest.raises(EncodingError) as caught:
        check(env, **options)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


def test_a_state_that_comes_back_changed_is_named():
    def keep(env):
        return env, []

    assert "'/base/size' does not come back" in refused(faulty_envs.ChangesItsState())
    assert "'/base/size'" in refused(faulty_envs.ChangesItsState(), prepare=keep)
    told = {"probe": False, "volatile": ["steps"]}
    assert "'/base/size'" in refused(faulty_envs.ChangesItsState(), **told)


def test_a_state_that_is_not_taken_back_is_refused():
    assert "never again" in refused(faulty_envs.RefusesItsState())


def test_a_state_that_leaves_something_out_is_found_by_stepping():
    check(faulty_envs.LeavesSomethingOut())
    message = refused(faulty_envs.LeavesSomethingOut(3.0))
    assert "reward differs at step 3 (seed 0)" in message


def test_what_only_the_loaded_one_raises_is_found():
    message = refused(faulty_envs.FailsOnceLoaded())
    assert "'TypeError: too far' in one of both" in message
    assert "step 20 (seed 0)" in message


def test_what_would_end_the_process_is_an_error_of_ours():
    assert "failed in step: SystemExit: 5" in refused(faulty_envs.EndsTheProcess())
    assert "SystemExit: 5" in refused(faulty_envs.EndsTheProcessAsState())
    check(faulty_envs.EndsTheProcess(after=20))


def test_an_order_that_a_document_does_not_keep_is_found():
    assert "reward differs at step 1" in refused(faulty_envs.ReadsInOrder())


def test_a_running_mean_without_a_record_is_found_and_named():
    message = refused(faulty_envs.Averaging(sample_envs.Base(), 5.0))
    assert "differs at step 1" in message
    assert "'/wrappers/0/mean'" in message
    check(faulty_envs.Averaging(sample_envs.Base(), 0.0))


@pytest.mark.parametrize("used", [False, True])
def test_what_is_carried_across_episodes_is_no_false_alarm(used):
    for make in (
        lambda: wrappers.NormalizeReward(wrappers.NormalizeObservation(make_env("CartPole-v1"))),
        lambda: wrappers.TimeLimit(sample_envs.WindyMountainCar(WIND), 20),
        lambda: sample_envs.Counting(sample_envs.Base(), ["a"]),
    ):
        env = make()
        if used:
            play(env)
        check(env)


@pytest.mark.parametrize("make", [faulty_envs.UsesGlobalRandom, faulty_envs.UsesItsOwnGenerator])
def test_what_does_not_repeat_itself_is_warned_about(make):
    with pytest.warns(UserWarning, match=r"cannot be replayed exactly.*reward differs at step 1"):
        check(make())


def test_a_document_that_is_not_the_same_twice_is_warned_about():
    faulty_envs.ChangesWithTime.resets = 0
    with pytest.warns(UserWarning, match=r"'/base/epoch' is not the same"):
        check(faulty_envs.ChangesWithTime())


def test_neither_the_environment_nor_the_programs_generators_are_touched():
    env, twin = make_env("FrozenLake-v1"), make_env("FrozenLake-v1")
    for run in (env, twin):
        run.reset(seed=3)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    check(env)
    with pytest.warns(UserWarning, match="replayed"):
        check(faulty_envs.UsesGlobalRandom())
    after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert after == before
    for _ in range(20):
        ours, theirs = env.step(1), twin.step(1)
        assert ours == theirs
        if ours[2]:
            assert env.reset() == twin.reset()


def windy():
    return wrappers.TimeLimit(sample_envs.WindyMountainCar(WIND), 30)


def take_out(env):
    env.unwrapped.wind = None
    return env, [ARTIFACT]


def put_back(env, *, wind):
    assert env.unwrapped.related_artifacts == [ARTIFACT]
    env.unwrapped.wind = wind
    return env


def test_a_hook_is_completed_before_it_is_stepped():
    check(windy(), prepare=take_out, complete=functools.partial(put_back, wind=WIND))
    message = refused(windy(), prepare=take_out, complete=functools.partial(put_back, wind=-WIND))
    assert "observation differs at step 1" in message
    assert "'/base/wind" in message


def test_without_the_other_half_of_the_hook_only_the_text_is_compared():
    check(windy(), prepare=take_out)


def test_a_hook_that_cannot_complete_is_an_error_of_ours():
    with pytest.raises(EncodingError, match="cannot complete what was stored: KeyError"):
        check(windy(), prepare=take_out, complete=lambda env: {}[env])


def test_a_hook_that_sets_what_episodes_change_is_no_false_alarm():
    def set_state(env):
        env.unwrapped.state = None
        return env, []

    check(make_env("CartPole-v1"), prepare=set_state, complete=lambda env: env)


def test_without_probing_nothing_is_run():
    faulty_envs.Slow.calls = 0
    check(faulty_envs.Slow(), probe=False, volatile=["position", "steps", "log", "/base/heat/*"])
    check(wrappers.TimeLimit(sample_envs.Recorded(3), 9), probe=False)
    assert faulty_envs.Slow.calls == 0


def test_a_simulators_model_that_was_changed_by_hand_is_named():
    pytest.importorskip("mujoco")
    pytest.importorskip("imageio")
    env = make_env("Hopper-v5")
    check(env)
    env.unwrapped.model.opt.gravity[2] = -5.0
    assert "'/base/model' cannot be stored" in refused(env)


@pytest.mark.parametrize("used", [False, True])
def test_a_state_that_is_a_copy_of_the_dictionary_comes_back(used):
    env = faulty_envs.CopiesItsDictionary()
    fresh = encode(env)
    if used:
        play(env)
    check(env)
    check(wrappers.TimeLimit(env, 9))
    assert encode(env).text == fresh.text
    loaded: Any = decode(fresh, TrustPolicy())
    assert loaded.size == 3
    loaded.reset(seed=1)
    assert encode(loaded).text == fresh.text
    assert "related_artifacts" not in fresh.text


def test_a_state_may_leave_out_what_the_user_excludes():
    env = faulty_envs.CopiesItsDictionary()
    env.handles = [lambda: 0]  # type: ignore[attr-defined]
    check(env, exclude=["handles"])


def test_a_path_that_is_named_is_one_that_can_be_given_back():
    env = faulty_envs.ChangesItsState()
    with pytest.raises(EncodingError) as caught:
        check(env)
    assert "'/base/size'" in caught.value.message
    assert "volatile=['size']" in caught.value.hint
    faulty_envs.ChangesWithTime.resets = 0
    with pytest.warns(UserWarning, match=r"volatile=\['epoch'\]"):
        check(faulty_envs.ChangesWithTime())
    check(faulty_envs.ChangesWithTime(), volatile=["epoch"])
    assert "'/base/pairs/0/1' does not" in refused(faulty_envs.ChangesAPairInItsState())


def test_counters_that_matter_are_found_by_stepping():
    check(faulty_envs.CountsEpisodes())
    used = faulty_envs.CountsEpisodes()
    play(used)
    check(used)
    used = faulty_envs.CountsEpisodes(matters=True)
    play(used)
    assert "not what it was: '/base/episodes', '/base/seen/steps', '/base/total'" in refused(used)


def test_what_completes_an_environment_returns_it():
    with pytest.raises(EncodingError, match="returned a 'NoneType'") as caught:
        check(windy(), prepare=take_out, complete=lambda env: None)
    assert "return the environment" in caught.value.hint


def test_the_generator_of_torch_is_not_touched():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    before = torch.get_rng_state().clone()
    with pytest.warns(UserWarning, match="replayed"):
        check(faulty_envs.UsesTorch())
    assert torch.equal(torch.get_rng_state(), before)
