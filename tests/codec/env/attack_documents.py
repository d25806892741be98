"""Documents that want more than an environment, by tag, by hiding place and by gadget."""

from typing import Any

from jsonpickle import tags  # type: ignore[import-untyped]

from tests.codec.env.plain_attacks import (
    FROZEN_LAKE,
    GADGETS,
    ORDER_ENFORCING,
    PLAIN_ATTACKS,
    SAMPLES,
    TIME_LIMIT,
    TRIP,
    ant,
    array,
    document,
    gadget,
    holding,
    key,
    layer,
    namespace,
    nested,
    partial,
    recipe,
    reduce_of,
    snapshot,
    text_array,
    value,
)
from tupli_repo.codec.env.values.handlers import VALUE_TYPES
from tupli_repo.codec.env.values.value_type import ValueType


def _filled(value_type: ValueType, content: Any) -> Any:
    """A value whose every field holds the same."""
    fields = (field for field in value_type.fields if not field.endswith("?"))
    return holding({"py/object": value_type.name, **dict.fromkeys(fields, content)})


def _ordered(axes: list[Any]) -> Any:
    """An array of 2 * 2 * 2 numbers that says in what order its axes lie."""
    return array(shape=[2, 2, 2], order=axes, dtype="|u1", data={"py/b64": "AAECAwQFBgc="})


TAGS = {text for text in vars(tags).values() if isinstance(text, str) and text.startswith("py/")}
"""Every tag of the installed jsonpickle; ``py/enum`` and ``py/blob`` are ours."""

_CONTENTS: dict[str, Any] = {
    "a name": "os.system",
    "a list": ["os.system", ["true"]],
    "nothing": None,
    "an object": {"x": 1},
    "a path": "/etc/passwd",
    "a call": reduce_of("posix.system", "true"),
}
_CONTAINERS = ("py/set", "py/tuple")

BY_TAG = {
    f"{tag} of {what}": holding({tag: content})
    for tag in sorted(TAGS)
    for what, content in _CONTENTS.items()
    if tag not in _CONTAINERS or what != "a list"
}

BY_PATH = {
    f"path in {what}": ant(hidden)
    for what, hidden in {
        "text": "/etc/passwd",
        "bytes": {"py/b64": "L2V0Yy9wYXNzd2Q="},
        "a bytearray": value("builtins.bytearray", data={"py/b64": "L2V0Yy9wYXNzd2Q="}),
        "an array of texts": text_array("/etc/passwd"),
        "an array of rows": array(
            dtype=[["a", "<i4", []], ["b", "|S2", []]], data={"py/b64": "AAAAAC9h"}
        ),
        "a deque": value("collections.deque", items=["x", "/etc"], maxlen=None),
        "an ordered dict": value("collections.OrderedDict", items=[["a", "~/x"]]),
        "a default dict": value("collections.defaultdict", factory=None, items={"a": "../x"}),
        "a counter": value("collections.Counter", items={"/etc/passwd": 1}),
        "a mapping": value("types.MappingProxyType", items={"a": "a/b"}),
        "a namespace": namespace(a="/etc/passwd"),
        "the second namespace": [namespace(a="x"), namespace(a="/etc/passwd")],
        "the first of many namespaces": [namespace(a="/etc/passwd"), *[namespace(a="x")] * 20],
        "the first of many slices": [
            value("builtins.slice", start=text, stop=None, step=None)
            for text in ("/", *"abcdefghijklmnopqrst")
        ],
        "the second partial": [
            partial({"py/function": "math.sin"}, "x"),
            partial({"py/function": "math.sin"}, "/etc/passwd"),
        ],
        "keywords": partial({"py/function": "math.sin"}, x="/etc/passwd"),
        "a slice": [
            value("builtins.slice", start=text, stop=None, step=None) for text in ("x", "/etc")
        ],
        "a path": value("pathlib.Path", posix="passwd"),
        "a key": {"/etc/passwd": 1},
        "a tuple as a key": {key({"py/tuple": ["a", "/etc/passwd"]}): 1},
        "a set": {"py/set": ["/etc/passwd"]},
        "a frozenset": value("builtins.frozenset", items=["/etc/passwd"]),
        "a named tuple": {
            "py/object": f"{SAMPLES}.Point",
            "py/newargs": {"py/tuple": [1, "/etc/passwd"]},
        },
        "a dataclass": {
            "py/object": f"{SAMPLES}.Engine",
            "power": {"py/object": f"{SAMPLES}.Wheel", "radius": "/etc/passwd"},
        },
        "an enum": {"py/object": f"{GADGETS}.Folder", "py/enum": "SECRET"},
        "an alias": {"a": ["/etc/passwd"], "b": {"py/id": 1}},
        "dots": "..",
        "a home": "~root",
        "another drive": "C:\\\\evil.xml",
    }.items()
}

BY_VALUE_TYPE = {
    f"'{name}' of a function": _filled(value_type, {"py/function": "os.system"})
    for name, value_type in sorted(VALUE_TYPES.items())
    if not all(field.endswith("?") for field in value_type.fields)
}

MORE = {
    "spec with an entry point": document(
        recipe(overrides={"spec": namespace(entry_point="os:system", kwargs={"command": "true"})})
    ),
    "spec in a snapshot": document(
        snapshot(spec=namespace(entry_point="os:system", kwargs={"command": "true"}))
    ),
    "spec in a state": document(
        {
            "kind": "snapshot",
            "class": {"py/type": f"{SAMPLES}.Base"},
            "state": {"spec": namespace(entry_point="os:system")},
        }
    ),
    "recipe record": document(snapshot(_tupli_recipe={"py/tuple": [{"py/type": "builtins.str"}]})),
    "arguments of EzPickle": document(recipe(overrides={"_ezpickle_kwargs": {"x": 1}})),
    "generator": document(recipe(overrides={"_np_random": 1})),
    "wrapper around itself": document(
        wrappers=[
            recipe(TIME_LIMIT, kwargs={"max_episode_steps": 3}, overrides={"env": layer(1)}),
            recipe(ORDER_ENFORCING),
        ]
    ),
    "wrapper around itself as a snapshot": document(
        {**snapshot(f"{SAMPLES}.Counting", env=layer(0))}
    ),
    "wrapper around nothing": document(snapshot(f"{SAMPLES}.Counting", by_name={})),
    "memory as an array": document(
        recipe(
            FROZEN_LAKE,
            kwargs={
                "desc": namespace(
                    __array_interface__={
                        "shape": {"py/tuple": [1000]},
                        "typestr": "|u1",
                        "data": {"py/tuple": [4096, True]},
                        "version": 3,
                    }
                )
            },
        )
    ),
    "dunder by reference": holding(
        [{"__deepcopy__": 1}, value("types.SimpleNamespace", items={"py/id": 1})]
    ),
    "dunder in a state": holding(
        {"py/object": f"{SAMPLES}.Engine", "py/state": {"__reduce_ex__": 1}}
    ),
    "dunder in an instance": holding({"py/object": f"{SAMPLES}.Engine", "__deepcopy__": TRIP}),
    "subclass hook": holding({"py/object": f"{GADGETS}.Registering", "__init_subclass__": 1}),
    "maker that only computes": document(
        {
            "kind": "recipe",
            "make": {"py/function": "builtins.max"},
            "args": [[1, 2]],
            "kwargs": {"key": {"py/type": f"{GADGETS}.NoEnv"}},
        }
    ),
    "maker under a wildcard": document(
        {"kind": "recipe", "make": {"py/function": f"{GADGETS}.make_env"}}
    ),
    "maker that is a method": document(
        {"kind": "recipe", "make": {"py/function": f"{SAMPLES}.Base.step"}}
    ),
    "window": document(recipe(kwargs={"render_mode": "human"})),
    "window by numpy": document(recipe(kwargs={"render_mode": text_array("human")})),
    "class that ends the process": document(recipe(f"{GADGETS}.Leaving")),
    "class without room": document(recipe(f"{GADGETS}.Closed")),
    "abstract class": document(snapshot(f"{GADGETS}.Abstract")),
    "recording wrapper by another name": document(
        wrappers=[recipe(f"{GADGETS}.RecordVideo", kwargs={"video_folder": "x"})]
    ),
    "window wrapper": document(wrappers=[recipe("gymnasium.wrappers.rendering.HumanRendering")]),
    "importing wrapper": document(
        wrappers=[recipe("gymnasium.wrappers.array_conversion.ArrayConversion", kwargs={})]
    ),
    "runs at its end": gadget("Deleted"),
    "inherits what runs at its end": gadget("DeletedToo"),
    "property with a setter": gadget("WithSetter", guarded=1),
    "no such slot": gadget("Slots", b=1),
    "hides a method": gadget("Steered", __setattr__=1),
    "list of one's own": gadget("ListOfOwn"),
    "enum by a value": gadget("Hue", **{"py/enum": "1"}),
    "enum by a missing name": gadget("Hue", **{"py/enum": "_missing_"}),
    "name of a metaclass": gadget("Renamed"),
    "alias of a class": gadget("Alias"),
    "alias of another module": gadget("Outer"),
    "alias of the library's": gadget("HERE"),
    "pretends to be a class": gadget("pretending"),
    "type that pretends": holding({"py/type": f"{GADGETS}.pretending"}),
    "partial under a wildcard": holding(partial(TRIP)),
    "factory under a wildcard": holding(value("collections.defaultdict", factory=TRIP, items={})),
    "factory that is a partial": holding(
        value("collections.defaultdict", factory=partial({"py/type": "builtins.list"}), items={})
    ),
    "key that is an object": holding({key({"py/object": f"{GADGETS}.Steered"}): 1}),
    "element that is an object": holding({"py/set": [{"py/object": f"{GADGETS}.Steered"}]}),
    "key that is a named tuple": holding(
        {key({"py/object": f"{GADGETS}.Pair", "py/newargs": {"py/tuple": [1, 2]}}): 1}
    ),
    "key that has no hash": holding(
        {"py/set": [value("numpy.generic", dtype=[["a", "<i4", []]], data={"py/b64": "AAAAAA=="})]}
    ),
    "key in a key": holding({key({"py/tuple": [{key(1): 1}]}): 1}),
    "keys of one hash": holding({key(n * (2**61 - 1)): 1 for n in range(1, 300)}),
    "elements of one hash": holding({"py/set": [n * (2**61 - 1) for n in range(1, 300)]}),
    "pairs of one hash": holding(
        value("collections.OrderedDict", items=[[n * (2**61 - 1), 1] for n in range(1, 300)])
    ),
    "key that is a tag": holding({"py/\u001b[2J\n": 1}),
    "tag spelled otherwise": holding({"py/Object": "os.system"}),
    "tag with a zero": holding({"py/object\0": "os.system"}),
    "name with a zero": holding({"py/object": "os.system\0"}),
    "name in other letters": holding({"py/object": "\uff4fs.system"}),
    "name with a surrogate": holding({"py/object": "os.\ud800"}),
    "attribute with a surrogate": document(recipe(kwargs={"a\ud800": 1})),
    "argument with a surrogate": document(recipe(FROZEN_LAKE, kwargs={"map_name": "\ud800\n"})),
    "partial of a class of a wildcard": holding(partial({"py/type": f"{GADGETS}.NoEnv"})),
    "key of a partial": holding(
        partial({"py/function": "builtins.max"}, [1, 2], key={"py/type": f"{GADGETS}.NoEnv"})
    ),
    "classes for a partial": holding(
        partial({"py/function": "builtins.max"}, [{"a": {"py/type": f"{GADGETS}.NoEnv"}}])
    ),
    "keywords from outside a partial": holding(
        [
            {"key": {"py/type": f"{GADGETS}.NoEnv"}},
            {**partial({"py/function": "builtins.max"}), "keywords": {"py/id": 2}},
        ]
    ),
    "factory of a wildcard": holding(
        value("collections.defaultdict", factory={"py/type": f"{GADGETS}.NoEnv"}, items={})
    ),
    "order of other axes": holding(_ordered([0, 1, 3])),
    "order of too few axes": holding(_ordered([0, 1])),
    "order of an axis twice": holding(_ordered([0, 1, 1])),
    "order from the end": holding(_ordered([0, -1, 1])),
    "order that is C": holding(_ordered([0, 1, 2])),
    "order that is F": holding(_ordered([2, 1, 0])),
    "order of no numbers": holding(_ordered(["a", "b", "c"])),
    "blob": holding({"py/blob": "0" * 64}),
    "array in a blob": holding(array(data={"py/blob": "0" * 64})),
    "array of nothing": holding(
        array(dtype=[["a", "<f8", [0]]], shape=[1 << 40], data={"py/b64": ""})
    ),
    "array of no texts": holding(array(dtype="<U0", shape=[1 << 40], data={"py/b64": ""})),
    "array of impossible text": document(
        recipe(FROZEN_LAKE, kwargs={"desc": array(dtype="<U1", data={"py/b64": "/////w=="})})
    ),
    "scalar of impossible text": holding(
        value("numpy.generic", dtype="<U1", data={"py/b64": "/////w=="})
    ),
    "array of 2**80 bytes": holding(
        array(shape=[1 << 40, 1 << 40], data=None, fill={"py/b64": "AAAAAAAA8D8="})
    ),
    "dtype of 2**80 bytes": holding(
        array(dtype=[["a", "<f8", [1 << 20] * 4]], shape=[1], data={"py/b64": ""})
    ),
    "state of a generator": holding(
        value("numpy.random.Generator", kind="MT19937", state={"pos": 10**6})
    ),
    "generator of another kind": holding(value("numpy.random.Generator", kind="BitGenerator")),
    "generator by its path": holding(value("numpy.random.Generator", kind="mtrand.rand")),
    "Philox by its attributes": holding({"py/object": "numpy.random._philox.Philox", "buffer": 9}),
    "space without bounds": holding(value("gymnasium.spaces.Box", low=1, high=2)),
    "space of nothing": holding(value("gymnasium.spaces.Discrete", n=0, start=0)),
    "space of what is none": holding(value("gymnasium.spaces.Tuple", spaces=[1])),
    "chain of deques": document(
        recipe(
            f"{SAMPLES}.Base",
            overrides={
                "thing": [
                    value(
                        "collections.deque",
                        items=[{"py/id": 2 * i - 1}] if i else [],
                        maxlen=None,
                    )
                    for i in range(3000)
                ]
            },
        )
    ),
    "100 deep": holding(nested(1, lambda node: [node], 100)),
    "100 objects deep": holding(
        nested(1, lambda node: {"py/object": f"{SAMPLES}.Engine", "power": node}, 100)
    ),
    "deep in keys": holding(
        nested(1, lambda node: {key({"py/tuple": [nested(node, lambda n: [n], 60)]}): 1}, 6)
    ),
    "a path of every name": holding(
        nested(
            {"py/mod": "x"}, lambda node: {"py/object": f"{SAMPLES}.Engine", "a" * 300: node}, 80
        )
    ),
    "highway of the system": document(
        recipe("highway_env.envs.highway_env.HighwayEnv", kwargs={"config": {"x": "os.system"}})
    ),
}

ATTACKS = {**PLAIN_ATTACKS, **BY_TAG, **BY_PATH, **BY_VALUE_TYPE, **MORE}

INERT = {
    "object that steers": gadget("Steered", a=1),
    "constructor of one's own": gadget("WithNew", a=1),
    "tuple that is walked": holding(
        {"py/object": f"{GADGETS}.Pair", "py/newargs": {"py/tuple": [1, 2]}}
    ),
    "slots": gadget("Slots", a=1),
    "enum": gadget("Hue", **{"py/enum": "RED"}),
    "partial of a class": holding(partial({"py/type": f"{GADGETS}.WithNew"}, 1)),
    "factory that is a class": holding(
        value("collections.defaultdict", factory={"py/type": f"{GADGETS}.WithNew"}, items={})
    ),
    "environment as an object": holding({"py/object": FROZEN_LAKE, "_ezpickle_args": []}),
}
"""Documents that decode: their classes are granted, but none of their code may run."""

ODD = {
    f"'{name}' of {what}": _filled(value_type, content)
    for name, value_type in sorted(VALUE_TYPES.items())
    for what, content in {
        "a namespace": namespace(x=[]),
        "itself": {"py/id": 1},
        "a list": [[1, 2]],
        "a dict": {"a": {"py/b64": "AAAA"}},
        "a large number": 2**62,
        "a text": "\ud800\n",
    }.items()
}
"""Values whose fields are of other types: they decode, or are refused."""
