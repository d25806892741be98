"""Documents that want more than an environment: refused, with nothing imported and nothing run."""

import json
import random
import subprocess
import sys
from typing import Any

import gymnasium
import jsonpickle  # type: ignore[import-untyped]
import pytest

from tests.codec.env import sample_envs
from tests.codec.env.test_same_bytes import STACKS
from tupli_repo.codec.env import EnvDocument, decode, encode, parse, untrusted_names
from tupli_repo.codec.env.document import dump_json
from tupli_repo.codec.env.unpickler import ClosedUnpickler
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import CorruptObjectError, TupliError, UntrustedCodeError

decoded: Any = decode

CARTPOLE = "gymnasium.envs.classic_control.cartpole.CartPoleEnv"
FROZEN_LAKE = "gymnasium.envs.toy_text.frozen_lake.FrozenLakeEnv"
ANT = "gymnasium.envs.mujoco.ant_v5.AntEnv"
TIME_LIMIT = "gymnasium.wrappers.common.TimeLimit"
SAMPLES = "tests.codec.env.sample_envs"
GRANTED = TrustPolicy([f"{SAMPLES}.*"])


def recipe(make=CARTPOLE, **parts):
    return {"kind": "recipe", "make": {"py/type": make}, **parts}


def document(base=None, wrappers=(), **more):
    return {"base": base or recipe(), "format": "tupli.env/1", "wrappers": list(wrappers), **more}


def holding(node):
    """A document whose environment would hold ``node``."""
    return document(recipe(overrides={"thing": node}))


def reduce_of(name, *args):
    return {"py/reduce": [{"py/type": name}, {"py/tuple": list(args)}]}


def array(**fields):
    whole = {
        "py/object": "numpy.ndarray",
        "dtype": "<f8",
        "shape": [1],
        "data": {"py/b64": "AAAAAAAA8D8="},
    }
    return {key: value for key, value in {**whole, **fields}.items() if value is not None}


ATTACKS = {
    "reduce eval": holding(reduce_of("builtins.eval", "print(1)")),
    "reduce system": holding(reduce_of("posix.system", "true")),
    "reduce of a float": holding(reduce_of("builtins.float", "nan")),
    "repr": holding({"py/repr": "os/os.system('true')"}),
    "module": holding({"py/mod": "os/os"}),
    "module new": holding({"py/mod": "antigravity"}),
    "iterator": holding({"py/iterator": [1]}),
    "initargs": holding({"py/object": "subprocess.Popen", "py/initargs": [["true"]]}),
    "newargs": holding({"py/object": "subprocess.Popen", "py/newargs": {"py/tuple": [["true"]]}}),
    "newargsex": holding({"py/object": CARTPOLE, "py/newargsex": [[], {}]}),
    "property": holding({"py/property": {"name": "x"}}),
    "ref": holding({"py/ref": "/"}),
    "seq": holding({"py/object": CARTPOLE, "py/seq": [1]}),
    "base85": holding({"py/b85": "abc"}),
    "bytes": holding({"py/bytes": "abc"}),
    "unknown tag": holding({"py/anything": 1}),
    "type of the system": holding({"py/type": "os._wrap_close"}),
    "function of the system": holding({"py/function": "os.system"}),
    "function by builtin name": holding({"py/function": "builtins.eval"}),
    "function without module": holding({"py/function": "eval"}),
    "function by dunder": holding({"py/function": "math.__loader__"}),
    "function of a method": holding({"py/function": f"{CARTPOLE}.step.__globals__"}),
    "object of the system": holding({"py/object": "subprocess.Popen", "args": ["true"]}),
    "object of numpy": holding({"py/object": "numpy.memmap", "filename": "x"}),
    "cloudpickle wrapper": holding(
        {"py/object": "gymnasium.vector.utils.misc.CloudpickleWrapper", "py/state": {"py/b64": ""}}
    ),
    "state of a default class": holding(
        {"py/object": FROZEN_LAKE, "py/state": {"_ezpickle_args": []}}
    ),
    "default factory": holding(
        {
            "py/object": "collections.defaultdict",
            "factory": {"py/function": "os.getcwd"},
            "items": {},
        }
    ),
    "default factory as text": holding(
        {"py/object": "collections.defaultdict", "factory": "os.getcwd", "items": {}}
    ),
    "partial": holding(
        {
            "py/object": "functools.partial",
            "func": {"py/function": "os.system"},
            "args": ["true"],
            "keywords": {},
        }
    ),
    "partial of an instance": holding(
        {"py/object": "functools.partial", "func": 3, "args": [], "keywords": {}}
    ),
    "key": holding({'json://{"py/reduce":[{"py/type":"builtins.eval"},{"py/tuple":["1"]}]}': 1}),
    "key with a name": holding({'json://{"py/function":"os.system"}': 1}),
    "key as a list": holding({"json://[1]": 1}),
    "key not canonical": holding({"json:// 1": 1}),
    "two keys": holding({"json://1": 1, "json://true": 2}),
    "set of dicts": holding({"py/set": [{"a": 1}]}),
    "forward reference": holding([{"py/id": 5}]),
    "negative reference": holding([{"py/id": -1}]),
    "bool reference": holding([{"py/id": True}]),
    "unfinished reference": holding(
        {"py/object": "collections.deque", "items": [{"py/id": 0}], "maxlen": None}
    ),
    "layer not there": holding({"py/object": "tupli.layer", "index": 3}),
    "two tags": holding({"py/type": "builtins.int", "py/function": "math.sin"}),
    "stray key": holding({"py/type": "builtins.int", "x": 1}),
    "method in an attribute": document(recipe(overrides={"step": {"py/function": "math.sin"}})),
    "class in an attribute": document(recipe(overrides={"__class__": {"py/type": "builtins.int"}})),
    "dict in an attribute": document(recipe(overrides={"__dict__": {}})),
    "property in an attribute": document(recipe(overrides={"np_random": 1})),
    "attribute that is no name": document(recipe(overrides={"a b": 1})),
    "env of the system": document(recipe("subprocess.Popen", args=[["true"]])),
    "env that is none": document(recipe("builtins.int")),
    "env by function": document(
        {
            "kind": "recipe",
            "make": {"py/function": "gymnasium.envs.registration.make"},
            "args": ["antigravity:X-v0"],
        }
    ),
    "env by text": document({"kind": "recipe", "make": "os:system"}),
    "wrapper that is an env": document(wrappers=[recipe(CARTPOLE)]),
    "env that is a wrapper": document(recipe(TIME_LIMIT, args=[1, 2])),
    "recording wrapper": document(
        wrappers=[
            recipe("gymnasium.wrappers.rendering.RecordVideo", kwargs={"video_folder": "/tmp/x"})
        ]
    ),
    "path to a model": document(recipe(ANT, kwargs={"xml_file": "/etc/passwd"})),
    "model elsewhere": document(recipe(ANT, kwargs={"xml_file": "..\\evil.xml"})),
    "path in a numpy text": document(
        recipe(
            ANT,
            kwargs={
                "xml_file": {
                    "py/object": "numpy.generic",
                    "dtype": "<U2",
                    "data": {"py/b64": "LwAAAGEAAAA="},
                }
            },
        )
    ),
    "path object": document(
        recipe(ANT, kwargs={"xml_file": {"py/object": "pathlib.Path", "posix": "a"}})
    ),
    "path in an override": document(recipe(overrides={"fullpath": "/etc/passwd"})),
    "wrong arguments": document(recipe(kwargs={"nonsense": 1})),
    "argument that is no name": document(recipe(kwargs={"a-b": 1})),
    "no base": {"format": "tupli.env/1", "wrappers": []},
    "other kind": document({"kind": "pickle", "make": {"py/type": CARTPOLE}}),
    "more at the top": document(exec="print(1)"),
    "artifacts that are paths": document(artifacts=["../../x"]),
    "no artifacts": document(artifacts=[]),
    "other format": {**document(), "format": "tupli.env/2"},
    "object dtype": holding(array(dtype="|O")),
    "dtype with code": holding(array(dtype="<f8,(2,2)<f8")),
    "wrong data": holding(array(shape=[2])),
    "huge array": holding(array(shape=[1 << 39], data=None, fill={"py/b64": "AAAAAAAA8D8="})),
    "negative shape": holding(array(shape=[-1])),
    "many dimensions": holding(array(shape=[1] * 40)),
    "bool of two": holding(array(dtype="|b1", data={"py/b64": "Ag=="})),
    "not base64": holding({"py/b64": "####"}),
    "text for a state": holding({"py/object": f"{SAMPLES}.Stateful", "py/state": 3}),
    "enum that is none": holding({"py/object": f"{SAMPLES}.Engine", "py/enum": "RED"}),
    "enum without member": holding({"py/object": f"{SAMPLES}.Color", "py/enum": "mro"}),
    "tuple that is none": holding(
        {"py/object": f"{SAMPLES}.Engine", "py/newargs": {"py/tuple": []}}
    ),
    "tuple too short": holding({"py/object": f"{SAMPLES}.Point", "py/newargs": {"py/tuple": [1]}}),
    "imported name": holding({"py/object": f"{SAMPLES}.EzPickle"}),
    "module as class": holding({"py/object": f"{SAMPLES}.functools"}),
    "through a module": holding({"py/object": f"{SAMPLES}.functools.partial"}),
    "function under a wildcard": holding({"py/function": f"{SAMPLES}.shaped"}),
    "no such class": holding({"py/object": f"{SAMPLES}.Missing"}),
    "no such package": document(recipe("tests.codec.not_there.Env")),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_with_one_of_our_errors(name):
    text = dump_json(ATTACKS[name])
    with pytest.raises(TupliError):
        decoded(EnvDocument(text=text), GRANTED)


@pytest.mark.parametrize("name", [name for name in ATTACKS if "path" in name or "model" in name])
def test_a_path_is_refused_before_its_class_is_looked_for(name):
    with pytest.raises(CorruptObjectError, match=r"reads like a path|not an id"):
        decoded(EnvDocument(text=dump_json(ATTACKS[name])), GRANTED)


TEXTS = {
    "empty": "",
    "not JSON": "{",
    "a list": "[]",
    "a number": "1",
    "not a number": '{"format":NaN}',
    "infinite": '{"format":1e999}',
    "twice": '{"format":"tupli.env/1","format":"tupli.env/1"}',
    "spaces": dump_json(document()).replace(":", ": "),
    "not ASCII": dump_json(document()).replace("CartPole", "CartPolé"),
    "long integer": dump_json(holding(1)).replace('"thing":1', '"thing":' + "9" * 5000),
    "deep": "[" * 5000 + "]" * 5000,
    "half deep": dump_json(holding(0)).replace('"thing":0', '"thing":' + "[" * 98 + "]" * 98),
    "yaml": "!!python/object/apply:os.system ['true']",
    "trailing": dump_json(document()) + "\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_not_ours_is_damaged(name):
    with pytest.raises(CorruptObjectError):
        parse(TEXTS[name])
    with pytest.raises(CorruptObjectError):
        decoded(EnvDocument(text=TEXTS[name]), GRANTED)


def test_every_untrusted_name_is_listed_at_once():
    wrapped = sample_envs.Counting(sample_envs.Everything(), ["a"])
    text = encode(wrapped).text.replace("one", "uno")  # nobody serialised this one
    names = untrusted_names(text, TrustPolicy())
    assert f"{SAMPLES}.Everything" in names
    assert f"{SAMPLES}.Counting" in names
    assert f"{SAMPLES}.Color" in names
    assert f"{SAMPLES}.shaped" in names
    assert untrusted_names(text, GRANTED) == [f"{SAMPLES}.shaped"]
    with pytest.raises(UntrustedCodeError) as caught:
        decoded(EnvDocument(text=text), TrustPolicy())
    assert caught.value.names == tuple(names)
    assert f"tupli trust {' '.join(names)}" in caught.value.hint


def test_a_document_is_trusted_by_its_hash_and_no_neighbour_is():
    text = encode(sample_envs.Base()).text.replace('"n":3', '"n":4')
    with pytest.raises(UntrustedCodeError):
        decoded(EnvDocument(text=text), TrustPolicy())
    policy = TrustPolicy(documents=[EnvDocument(text=text).sha256])
    assert decoded(EnvDocument(text=text), policy).action_space.n == 4


def test_the_artifacts_come_from_the_text():
    text = encode(gymnasium.make("CartPole-v1")).text
    lying = EnvDocument(text=text, artifacts=("never-stored",))
    assert decoded(lying, TrustPolicy()).unwrapped.related_artifacts == []


AUDITED = """
import sys
from tupli_repo.codec.env import EnvDocument, decode
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import TupliError
text = sys.stdin.read()
watched = []
def hook(event, args):
    if event in ("import", "exec", "compile", "open", "os.system", "subprocess.Popen"):
        watched.append((event, args[0]))
sys.addaudithook(hook)
try:
    decode(EnvDocument(text=text), TrustPolicy())
except TupliError as err:
    caught = type(err).__name__
else:
    caught = "nothing"
print(caught, [w for w in watched if w[0] != "import" or w[1].startswith(("antigravity", "tests"))])
"""


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("reduce system", "CorruptObjectError"),
        ("module new", "CorruptObjectError"),
        ("env by function", "UntrustedCodeError"),
        ("function of the system", "UntrustedCodeError"),
        ("no such package", "UntrustedCodeError"),
    ],
)
def test_nothing_is_imported_and_nothing_runs(name, error):
    done = subprocess.run(
        [sys.executable, "-c", AUDITED],
        input=dump_json(ATTACKS[name]),
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{error} []"


def test_every_way_of_the_inherited_unpickler_is_closed():
    ours = vars(ClosedUnpickler)
    kept = {"_refname", "restore", "reset"}
    for name in vars(jsonpickle.Unpickler):
        if name.startswith(("_restore", "_load", "_mk", "_swap", "_process", "register")):
            assert ours[name] is ours["_closed"], name
        elif not name.startswith("__"):
            assert name in kept
    closed = ClosedUnpickler(lambda name, kind: None, lambda name: False, [])
    with pytest.raises(CorruptObjectError):
        closed._classes["os.system"]
    with pytest.raises(CorruptObjectError):
        closed.restore({}, classes=[int])
    with pytest.raises(CorruptObjectError):
        closed._restore_object({"py/object": "os.system"})


def _mutated(tree, rng):
    """Change, drop, move or duplicate one random part of a tree."""
    places = []

    def visit(node):
        if isinstance(node, dict | list):
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                visit(node[key])

    visit(tree)
    node, key = rng.choice(places)
    other, other_key = rng.choice(places)
    words: list[Any] = [
        None,
        0,
        -1,
        2**70,
        1.5,
        "",
        "os.system",
        [],
        {},
        True,
        {"py/id": 0},
        {"py/id": 9},
        {"py/type": "builtins.int"},
        {"py/object": "tupli.layer", "index": 0},
        {"py/b64": "AA=="},
    ]
    action = rng.randrange(5)
    if action == 0:
        node[key] = rng.choice(words)
    elif action == 1 and isinstance(node, dict):
        node[rng.choice(["py/object", "py/state", "py/type", "x", "kind", "items", "json://1"])] = (
            node.pop(key)
        )
    elif action == 2:
        del node[key]
    elif action == 3:
        node[key] = json.loads(json.dumps(other[other_key]))
    else:
        node[key], other[other_key] = other[other_key], node[key]
    return tree


@pytest.mark.filterwarnings("ignore")
def test_a_mutated_document_is_an_environment_or_one_of_our_errors():
    rng = random.Random(20)
    originals = [
        json.loads(encode(STACKS[name]()).text)
        for name in ("everything", "counting-snapshot", "statistics", "actions", "FrozenLake-v1")
    ]
    trust = TrustPolicy([f"{SAMPLES}.*", f"{SAMPLES}.shaped"])
    refused = 0
    for _ in range(2000):
        tree = json.loads(json.dumps(rng.choice(originals)))
        for _ in range(rng.choice([1, 1, 2, 3])):
            tree = _mutated(tree, rng)
        try:
            text = dump_json(tree)
        except (RecursionError, ValueError):
            continue
        try:
            decoded(EnvDocument(text=text), trust)
        except TupliError:
            refused += 1
    assert refused > 500


def test_a_mutated_text_is_one_of_our_errors():
    rng = random.Random(21)
    text = encode(sample_envs.Everything()).text
    for _ in range(500):
        at = rng.randrange(len(text))
        broken = (
            text[:at]
            + rng.choice(["", "0", '"', "}", "[", "\\", "é", "\x00", ","])
            + text[at + 1 :]
        )
        if broken == text:
            continue
        try:
            decoded(EnvDocument(text=broken), GRANTED)
        except TupliError:
            continue
