"""Custom classes of every kind: one text in every state and process, and the same steps after."""

import copy
import importlib.util
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.codec.env.custom_envs import CUSTOM, NEEDS
from tupli_repo.codec.env import decode, encode
from tupli_repo.codec.trust import TrustPolicy

OURS = TrustPolicy(
    [
        "tests.codec.env.custom_envs.*",
        *(f"tests.codec.env.custom_{part}_envs.*" for part in ("class", "play", "frame", "torch")),
        *(f"tests.codec.env.custom_class_envs.{name}" for name in ("shaped", "squared")),
        *(f"torch.nn.modules.{layer}" for layer in ("linear.Linear", "activation.ReLU")),
        *(f"torch.nn.modules.container.{kind}" for kind in ("Sequential", "ModuleDict")),
    ]
)
PRESENT = [name for name in CUSTOM if name not in NEEDS or importlib.util.find_spec(NEEDS[name])]


def made(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    return CUSTOM[name]()


def bits(thing: Any) -> Any:
    """Return what is compared: type, dtype and bytes, all the way down."""
    if isinstance(thing, np.ndarray | np.generic):
        return (type(thing).__name__, str(thing.dtype), thing.shape, thing.tobytes())
    if isinstance(thing, dict):
        return {key: bits(part) for key, part in thing.items()}
    if isinstance(thing, tuple | list):
        return [type(thing).__name__, *map(bits, thing)]
    return (type(thing).__name__, repr(thing))


def steps(env, n=200, seed=5):
    """Return all that ``n`` steps show, the actions from a private copy of the first space."""
    observation, info = env.reset(seed=seed)
    actions = copy.deepcopy(env.action_space)
    actions.seed(seed)
    seen = [bits((observation, info))]
    for _ in range(n):
        *found, info = env.step(actions.sample())
        seen.append(bits((found, info)))
        if found[2] or found[3]:
            seen.append(bits(env.reset()))
    return seen


def test_there_are_enough_of_them():
    assert len(CUSTOM) - len(NEEDS) >= 32


@pytest.mark.parametrize("name", CUSTOM)
def test_neither_use_nor_seeding_changes_the_text(name):
    env = made(name)
    text = encode(env).text
    assert encode(env).text == text
    assert encode(made(name)).text == text
    env.reset(seed=3)
    assert encode(env).text == text
    steps(env, 60, seed=None)
    assert encode(env).text == text
    env.action_space.seed(4)
    env.observation_space.seed(4)
    assert encode(env).text == text


@pytest.mark.parametrize("name", CUSTOM)
def test_it_loads_writes_the_same_text_and_steps_like_the_original(name):
    document = encode(made(name))
    loaded: Any = decode(document, OURS)
    assert type(loaded) is type(made(name))
    assert encode(loaded).text == document.text
    assert steps(loaded) == steps(made(name))
    assert encode(loaded).text == document.text


@pytest.mark.parametrize("name", CUSTOM)
def test_what_was_used_loads_as_new(name):
    env = made(name)
    steps(env, 33, seed=8)
    assert steps(decode(encode(env), OURS)) == steps(made(name))


PROGRAM = """
import json, sys
from tests.codec.env.test_custom_classes import CUSTOM, OURS, bits, steps
from tupli_repo.codec.env import decode, encode, parse
texts = json.load(sys.stdin)
for name, text in texts.items():
    loaded = decode(parse(text), OURS)
    print(name, encode(CUSTOM[name]()).text == text, steps(loaded) == steps(CUSTOM[name]()))
"""


def test_another_process_with_another_hash_seed_agrees():
    """It writes the same texts, and loads these under the named grants alone."""
    texts = {name: encode(CUSTOM[name]()).text for name in PRESENT}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        input=json.dumps(texts),
        env={"PYTHONHASHSEED": "4711", "PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} True True" for name in PRESENT]
