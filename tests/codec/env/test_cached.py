"""What a cached property of a part computes says nothing; what somebody set is never lost."""

import functools

import pytest
from gymnasium.utils import EzPickle

from tests.codec.env import mixed_envs
from tests.codec.env.families import play
from tests.codec.env.sample_envs import Base
from tupli_repo.codec.env import check_round_trip, encode
from tupli_repo.errors import EncodingError


class RecordedCar(mixed_envs.Car, EzPickle):
    def __init__(self, cylinders: int) -> None:
        EzPickle.__init__(self, cylinders)
        super().__init__(cylinders)


class RecordedLate(mixed_envs.Car, EzPickle):
    """Computes itself what depends on the step in which it was asked."""

    def __init__(self, cylinders: int) -> None:
        EzPickle.__init__(self, cylinders)
        super().__init__(cylinders)

    @functools.cached_property
    def asked_at(self):
        return self.steps

    def step(self, action):
        result = super().step(action)
        assert self.asked_at > 0
        return result


def test_what_a_step_computed_is_no_configuration():
    fresh, used = RecordedLate(4), RecordedLate(4)
    play(used)
    assert used.asked_at == 1
    assert encode(used).text == encode(fresh).text


@pytest.mark.parametrize("make", [mixed_envs.Car, RecordedCar])
def test_a_part_that_computed_is_the_same_as_one_that_did_not(make):
    fresh, used = make(4), make(4)
    play(used)
    assert used.engine.power == 8
    assert used.engine.warmth > 0
    assert used.engine.itself == [used.engine]
    document = encode(used)
    assert document.text == encode(fresh).text
    check_round_trip(document, used)


@pytest.mark.parametrize("make", [mixed_envs.Car, RecordedCar])
@pytest.mark.parametrize("probe", [False, True])
def test_a_value_that_somebody_set_in_a_part_is_refused(make, probe):
    env = make(4)
    env.engine.power = 9
    told = [] if probe else ["position", "steps"]
    with pytest.raises(EncodingError, match=r"'/base/engine/power' cannot be stored: it was set"):
        encode(env, probe=probe, volatile=told)
    del env.engine.power
    encode(env, probe=probe, volatile=told)


class RecordedParked(Base, EzPickle):
    """Has a part that no episode changes."""

    def __init__(self) -> None:
        EzPickle.__init__(self)
        super().__init__()
        self.engine = mixed_envs.Engine(4)


def test_what_a_part_refers_to_is_not_compared():
    env = RecordedParked()
    assert env.engine.itself == [env.engine]
    env.engine.log = ["warm"]
    with pytest.warns(UserWarning, match="'/base/engine' was changed, and is left out"):
        document = encode(env, exclude=["log"])
    assert document.text == encode(RecordedParked()).text
