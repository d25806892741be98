"""Documents and texts that want more than an environment, and what builds them."""

import base64
from typing import Any

from tupli_repo.codec.env.document import dump_json
from tupli_repo.codec.trust import TrustPolicy

CARTPOLE = "gymnasium.envs.classic_control.cartpole.CartPoleEnv"
FROZEN_LAKE = "gymnasium.envs.toy_text.frozen_lake.FrozenLakeEnv"
ANT = "gymnasium.envs.mujoco.ant_v5.AntEnv"
TIME_LIMIT = "gymnasium.wrappers.common.TimeLimit"
ORDER_ENFORCING = "gymnasium.wrappers.common.OrderEnforcing"
SAMPLES = "tests.codec.env.sample_envs"
GADGETS = "tests.codec.env.gadgets"
CARELESS = TrustPolicy([f"{SAMPLES}.*", f"{GADGETS}.*", f"{GADGETS}.WithNew"])
"""What a user in a hurry grants: everything in two modules, and a class that may be called."""

TRIP = {"py/function": f"{GADGETS}.trip"}


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


def layer(index):
    return {"py/object": "tupli.layer", "index": index}


def snapshot(cls=CARTPOLE, **attributes):
    return {"kind": "snapshot", "class": {"py/type": cls}, "attributes": attributes}


def value(name, **fields):
    return {"py/object": name, **fields}


def namespace(**items):
    return value("types.SimpleNamespace", items=items)


def partial(func, *args, **keywords):
    return value("functools.partial", func=func, args=list(args), keywords=keywords)


def key(node):
    return f"json://{dump_json(node)}"


def text_array(text):
    data = base64.b64encode(text.encode("utf-32-le")).decode()
    return array(dtype=f"<U{len(text)}", shape=[1], data={"py/b64": data})


def ant(xml_file):
    return document(recipe(ANT, kwargs={"xml_file": xml_file}))


def nested(node, wrap, times):
    for _ in range(times):
        node = wrap(node)
    return node


def gadget(name, **attributes):
    return holding({"py/object": f"{GADGETS}.{name}", **attributes})


PLAIN_ATTACKS: dict[str, Any] = {
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
    "base64 with bits left over": holding({"py/b64": "AB=="}),
    "base64 cut off": holding({"py/b64": "AAAAA"}),
    "base64 of padding": holding({"py/b64": "AAAA=="}),
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
