"""Whatever is done to a document, it is an environment or one of our errors.

``python -m tests.codec.env.test_fuzz [COUNT] [SEED]`` runs more of it, and says what came out.
"""

import collections
import json
import random
import sys
import time
import warnings
from contextlib import suppress
from typing import Any

import gymnasium
import pytest

from tests.codec.env.attack_documents import ATTACKS, INERT, ODD
from tests.codec.env.families import STACKS
from tests.codec.env.plain_attacks import CARELESS, GADGETS, SAMPLES
from tupli_repo.codec.env import EnvDocument, decode, encode
from tupli_repo.codec.env.document import dump_json
from tupli_repo.codec.env.values.handlers import VALUE_TYPES
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import TupliError

EXACT = TrustPolicy([f"{SAMPLES}.*", f"{GADGETS}.*", f"{SAMPLES}.shaped", f"{SAMPLES}.double"])
OURS = {"environment", "CorruptObjectError", "MissingDependencyError", "UntrustedCodeError"}
SEEDS = ("everything", "counting-snapshot", "statistics", "actions", "stacked")
TAGS = [
    "py/object", "py/state", "py/type", "py/function", "py/id", "py/tuple", "py/set", "py/b64",
    "py/enum", "py/newargs", "py/reduce", "x", "kind", "make", "items", "json://1", "json://[1]",
    'json://{"py/tuple":[1,2]}', "__class__", "env", "spec", "dtype", "shape", "fill", "data",
]  # fmt: skip
NAMES = [
    "os.system", f"{SAMPLES}.Everything", f"{SAMPLES}.Engine", f"{SAMPLES}.Color",
    f"{SAMPLES}.Point", f"{SAMPLES}.shaped", f"{GADGETS}.Steered", f"{GADGETS}.Pair",
    "builtins.int", "math.sin", "gymnasium.wrappers.common.TimeLimit", "tupli.layer", *VALUE_TYPES,
]  # fmt: skip
LEAVES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 1 << 20, 2**63, -(2**70), 10**600, 1.5, -0.0, 1e300, "", "a",
    "/etc/passwd", "\ud800", "x" * 5000, "<f8", "|O", "<U3", "AAAAAAAA8D8=", [], {}, [[]],
    {"py/id": 0}, {"py/id": 3}, {"py/id": 10**9}, {"py/b64": "AA=="}, {"py/tuple": [1, 2]},
    {"py/object": "tupli.layer", "index": 0}, {"py/type": "builtins.int"},
]  # fmt: skip


def places(tree):
    """Every (container, key) of a tree."""
    found = []
    to_do = [tree]
    while to_do:
        node = to_do.pop()
        if isinstance(node, dict | list):
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                found.append((node, key))
                to_do.append(node[key])
    return found


def copied(tree):
    return json.loads(json.dumps(tree))


def mutate(tree, other, rng):
    """Change one part of a tree: replace, rename, drop, swap, repeat, wrap, or take another's."""
    node, key = rng.choice(places(tree))
    source, source_key = rng.choice(places(other))
    donor, donor_key = rng.choice(places(tree))
    action = rng.randrange(10)
    if action == 0:
        node[key] = copied(rng.choice(LEAVES))
    elif action == 1 and isinstance(node, dict):
        node[rng.choice(TAGS)] = node.pop(key)
    elif action == 2:
        del node[key]
    elif action == 3:
        node[key] = copied(source[source_key])
    elif action == 4:
        node[key], donor[donor_key] = donor[donor_key], node[key]
    elif action == 5 and isinstance(node, list):
        node.insert(rng.randrange(len(node) + 1), copied(donor[donor_key]))
    elif action == 6:
        node[key] = {rng.choice(TAGS): node[key]}
    elif action == 7:
        names = [(n, k) for n, k in places(tree) if k in ("py/object", "py/type", "py/function")]
        where, tag = rng.choice(names or [(node, key)])
        where[tag] = rng.choice(NAMES)
    elif action == 8 and isinstance(node, dict):
        node[rng.choice(TAGS)] = copied(rng.choice(LEAVES))
    elif isinstance(node[key], int | float) and not isinstance(node[key], bool):
        node[key] = rng.choice([node[key] + 1, -node[key], node[key] * 2**40, node[key] // 2])
    elif isinstance(node[key], str):
        at = rng.randrange(len(node[key]) + 1)
        node[key] = node[key][:at] + rng.choice(["", "A", "/", "\x00", ".", "py/"]) + node[key][at:]


def filled(rng, other):
    """A value type with fields from anywhere."""
    name, value_type = rng.choice(list(VALUE_TYPES.items()))
    fields = {"py/object": name}
    for field in value_type.fields:
        if not field.endswith("?") or rng.random() < 0.3:
            source, key = rng.choice(places(other))
            fields[field.rstrip("?")] = copied(rng.choice([source[key], *rng.sample(LEAVES, 2)]))
    return fields


def broken(text, rng):
    """Change some characters of a text."""
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(text))
        junk = [
            "",
            "0",
            '"',
            "}",
            "]",
            "[",
            "{",
            "\\",
            "é",
            "\x00",
            ",",
            ":",
            "-",
            "e9",
            '\\"',
            "1",
        ]
        text = text[:at] + rng.choice(junk) + text[at + rng.randrange(3) :]
    return text


def fuzz(count, seed, texts):
    """Decode ``count`` mutated documents and count what came of them."""
    rng = random.Random(seed)
    valid = [json.loads(text) for text in texts]
    pool = [*valid, *valid, *valid, *INERT.values(), *ODD.values(), *ATTACKS.values()]
    pool = [tree for tree in pool if len(json.dumps(tree)) < 50_000]
    outcomes: collections.Counter[str] = collections.Counter()
    for _ in range(count):
        kind = rng.randrange(6)
        if kind == 0:
            text = broken(rng.choice(texts), rng)
        else:
            tree = copied(rng.choice(valid if kind < 4 else pool))
            other = rng.choice(pool)
            if kind == 5:
                node, key = rng.choice(places(tree))
                node[key] = filled(rng, other)
            with suppress(IndexError):  # nothing is left of it
                for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 6])):
                    mutate(tree, other, rng)
            try:
                text = dump_json(tree)
            except (ValueError, RecursionError):  # it holds itself
                continue
        outcomes[outcome(text, rng.choice([EXACT, EXACT, CARELESS, TrustPolicy()]))] += 1
    return outcomes


def outcome(text, trust):
    try:
        env: Any = decode(EnvDocument(text=text), trust)
    except TupliError as err:
        return type(err).__name__ if err.message.isprintable() else ascii(err.message)
    except Exception as err:
        raise AssertionError(f"{type(err).__name__} from {text[:5000]}") from err
    assert env.unwrapped is not None
    return "environment"


def valid_texts():
    envs: list[Any] = [gymnasium.make("FrozenLake-v1"), *(STACKS[name]() for name in SEEDS)]
    return [encode(env).text for env in envs]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("count", "seed"),
    [(2500, 20), pytest.param(100_000, 21, marks=pytest.mark.slow)],
    ids=["few", "many"],
)
def test_a_mutated_document_is_an_environment_or_one_of_our_errors(count, seed):
    outcomes = fuzz(count, seed, valid_texts())
    assert outcomes.keys() <= OURS
    assert outcomes["environment"] > count // 50
    assert outcomes["CorruptObjectError"] > count // 3
    assert outcomes["UntrustedCodeError"] > count // 100


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    arguments = [int(argument) for argument in sys.argv[1:]]
    n_documents, first_seed = [*arguments, *[10_000, 1][len(arguments) :]]
    begun = time.monotonic()
    counted = fuzz(n_documents, first_seed, valid_texts())
    print(f"{n_documents} documents in {time.monotonic() - begun:.0f} s", dict(counted))  # noqa: T201
