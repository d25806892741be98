"""What is recorded in the golden repositories: fixed, computed without a random generator.

Together the episodes have every kind of space, columns in one blob and in several, infos of every
kind, and whatever may be missing.
"""

import struct
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces import GraphInstance

from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.codec.episode import Steps
from tupli_repo.schema import ArtifactMetadata

ADA, BEN = "ada", "ben"
WALK, FIELD = "walk", "field"
OPAQUE_TEXT = '{"py/object":"nowhere.Walk","steps":3}'


class Golden(NamedTuple):
    """One episode, the benchmark it is of, and who recorded it."""

    benchmark: str
    steps: Steps
    observation_space: Space[Any] | None
    action_space: Space[Any] | None
    user: str = ADA


class Field(gymnasium.Env[Any, Any]):
    """An environment with a table that its document spills, and a series kept as an artifact."""

    def __init__(self, table: Any = None, series: Any = None) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(2)
        self.table = table
        self.series = series
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.table[:2] + self.series[0], {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return self.table[:2] + self.series[self.t], 1.0, self.t == 3, False, {}


class FieldWrapper(TupliEnvWrapper):
    """Keeps the series of a `Field` as an artifact."""

    def _serialize(self, env: Any) -> Any:
        data = np.asarray(env.unwrapped.series).tobytes()
        item = self.storage.store_artifact(data, ArtifactMetadata(name="series"))
        env.unwrapped.series = None
        return env, [item.id]

    @classmethod
    def _deserialize(cls, env: Any, storage: Any) -> Any:
        (series,) = env.unwrapped.related_artifacts
        env.unwrapped.series = np.frombuffer(storage.load_artifact(series))
        return env


def new_field() -> Field:
    """Return the environment of the benchmark `FIELD`."""
    return Field(np.arange(1500, dtype="<f8") / 8, np.linspace(0, 1, 9))


def large_file() -> bytes:
    """Return 9 MiB that are easily compressed: the content of an artifact of several pieces."""
    return bytes(range(256)) * (9 << 12) + b"the end"


def episodes() -> dict[str, Golden]:
    """Return the episodes by what they are called here."""
    made = [
        ("box", _box()),
        ("floats", _floats()),
        ("pixels", _pixels()),
        ("everything", _everything()),
        ("nested", _nested()),
        ("untold", _untold()),
        ("shapes", _shapes()),
        *((f"walk-{n}", _walk(n)) for n in range(6)),
    ]
    return dict(made)


def _facts(number: int) -> dict[str, Any]:
    """What tells an episode from all others."""
    return {
        "created_at": f"2026-01-02T03:04:{number:02d}.000{number:03d}Z",
        "nonce": f"{number:016x}",
    }


def _flags(n: int, *, last: bool) -> list[bool]:
    return [False] * (n - 1) + [last]


def _walk(number: int) -> Golden:
    n = 2 + number
    observations = (np.arange(3 * (n + 1)).reshape(-1, 3) * (number + 1) / 4).astype("<f4")
    steps = Steps(
        observations=list(observations),
        actions=[np.int64(t % 4) for t in range(n)],
        rewards=[t / 8 for t in range(n)],
        terminated=_flags(n, last=True),
        truncated=_flags(n, last=False),
        infos=[{} for _ in range(n)],
        seed=number,
        **_facts(10 + number),
    )
    box = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    return Golden(WALK, steps, box, spaces.Discrete(4), BEN if number == 2 else ADA)


def _box() -> Golden:
    """Plain spaces, typed and other infos, tagged JSON, numbers that are easily lost."""
    n = 7
    observations = (np.arange(3 * (n + 1)).reshape(-1, 3) / 3).astype("<f4")
    observations[0] = np.frombuffer(struct.pack("<IIf", 0x7FC01234, 0xFF800000, -0.0), "<f4")
    infos = [
        {
            "speed": t / 2,
            "count": t,
            "is_late": t > 3,
            "grid": np.full((2, 2), t, "<i2"),
            "x/y#z%": np.float32(t),
            **({"event": {"at": t, "kind": "Ümlaut"}} if t % 3 == 0 else {}),
        }
        for t in range(n)
    ]
    steps = Steps(
        observations=list(observations),
        actions=[np.int64(t % 5 - 2) for t in range(n)],
        rewards=[float(t) for t in range(n)],
        terminated=_flags(n, last=True),
        truncated=_flags(n, last=False),
        infos=infos,
        reset_info={"start": np.arange(3, dtype="<u2"), "none": None},
        metadata={
            "policy": "expert",
            "nan": float("nan"),
            "inf": [float("-inf"), 1e300, 5e-324, -0.0, 0.1],
            "bytes": b"\x00\xff",
            "tuple": (1, (2, "three")),
            "huge": 10**40,
            "edge": [2**63 - 1, -(2**63)],
            "no text": "\ud800",
            "keys": {1: "one", (2, 3): "pair", "#np": 0},
            "#tag": {"#f": "inf"},
            "scalar": np.float16(1.5),
            "names": np.array(["a", "bcd"]),
        },
        seed=2**40,
        options={"level": 3},
        **_facts(1),
    )
    box = spaces.Box(np.float32(-1), np.array([1, 2, np.inf], np.float32), (3,), np.float32)
    return Golden(WALK, steps, box, spaces.Discrete(5, start=-2))


def _floats() -> Golden:
    """Wide rows of float64 in two pieces, the last observation unknown, cut off by time."""
    n = 80
    rows = (np.arange(1000) + np.arange(n)[:, None]).astype("<f8")
    steps = Steps(
        observations=rows,
        actions=np.tile(np.array([0.5, -0.25], "<f4"), (n, 1)),
        rewards=np.arange(n, dtype="<f4"),
        terminated=_flags(n, last=False),
        truncated=_flags(n, last=True),
        infos=[{"t": t} for t in range(n)],
        **_facts(2),
    )
    box = spaces.Box(-np.inf, np.inf, (1000,), np.float64)
    return Golden(WALK, steps, box, spaces.Box(-1, 1, (2,), np.float32))


def _pixels() -> Golden:
    """Images of bytes in three pieces, left in the middle."""
    n = 60
    frames = np.zeros((n + 1, 84, 84, 3), np.uint8)
    for t in range(n + 1):
        frames[t, t : t + 8, 10:20, t % 3] = 255 - t
    steps = Steps(
        observations=frames,
        actions=[np.array([t % 3, t % 2]) for t in range(n)],
        rewards=[0] * n,
        terminated=_flags(n, last=False),
        truncated=_flags(n, last=True),
        infos=[{"lives": 3} if t else {} for t in range(n)],
        abandoned=True,
        **_facts(3),
    )
    box = spaces.Box(0, 255, (84, 84, 3), np.uint8)
    return Golden(FIELD, steps, box, spaces.MultiDiscrete([3, 2]))


def _everything() -> Golden:
    """One part of each kind of space."""
    n = 4
    space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (4, 5), np.uint8),
            "a/b#c%": spaces.MultiBinary([2, 3]),
            "text": spaces.Text(9, charset="abcdefghijäöü"),
            "seq": spaces.Sequence(spaces.Box(-1, 1, (2,), np.float32)),
            "stacked": spaces.Sequence(spaces.Discrete(9), stack=True),
            "graph": spaces.Graph(spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(5)),
            "pair": spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (), np.float64))),
            "one": spaces.OneOf((spaces.Discrete(7), spaces.Box(0, 1, (2,), np.float32))),
        }
    )
    observations = [
        {
            "camera": np.full((4, 5), t, np.uint8),
            "a/b#c%": np.eye(2, 3, k=t % 2, dtype=np.int8),
            "text": "aäbö"[:t],
            "seq": tuple(np.full(2, i / 4, np.float32) for i in range(t)),
            "stacked": np.arange(t % 3),
            "graph": _graph(t, has_edges=t != 2),
            "pair": (np.int64(t % 3), np.array(t / 4)),
            "one": (np.int64(0), np.int64(t)) if t % 2 else (np.int64(1), np.full(2, t / 8, "<f4")),
        }
        for t in range(n + 1)
    ]
    action = spaces.Tuple((spaces.MultiBinary(3), spaces.Text(4)))
    steps = Steps(
        observations=observations,
        actions=[(np.array([t % 2, 1, 0], np.int8), "xyz"[: t + 1]) for t in range(n)],
        rewards=[1.5] * n,
        terminated=_flags(n, last=False),
        truncated=_flags(n, last=False),
        infos=[{"note": "n" * t} for t in range(n)],
        rng={"bit_generator": "PCG64", "state": {"state": 2**127 + 5, "inc": 2**64 + 1}},
        **_facts(4),
    )
    return Golden(FIELD, steps, space, action)


def _graph(n: int, *, has_edges: bool) -> GraphInstance:
    nodes = np.arange(2 * n, dtype="<f4").reshape(n, 2) / 16
    if not has_edges:
        return GraphInstance(nodes, None, None)
    links = np.array([[i, (i + 1) % n] for i in range(n)], "<i4").reshape(-1, 2)
    return GraphInstance(nodes, np.arange(n), links)


def _nested() -> Golden:
    """Sequences of what is composite or ragged, a graph without edges, a choice of choices."""
    n = 3
    point = spaces.Dict({"x": spaces.Box(-9, 9, (), np.float32), "k": spaces.Discrete(4)})
    space = spaces.Tuple(
        (
            spaces.Sequence(point),
            spaces.Sequence(point, stack=True),
            spaces.Sequence(spaces.Text(5)),
            spaces.Sequence(spaces.Sequence(spaces.Discrete(6))),
            spaces.Graph(spaces.Discrete(5), None),
        )
    )
    observations = [
        (
            tuple({"x": np.float32(i / 2), "k": np.int64(i % 4)} for i in range(t)),
            {"x": np.arange(t, dtype="<f4"), "k": np.arange(t) % 4},
            tuple("abc"[:i] for i in range(t + 1)),
            tuple(tuple(np.int64(j) for j in range(i)) for i in range(t)),
            GraphInstance(np.arange(t), None, None),
        )
        for t in range(n + 1)
    ]
    inner = spaces.OneOf((spaces.Discrete(2), spaces.Text(3)))
    action = spaces.OneOf((inner, spaces.MultiDiscrete([4, 4])))
    choices: list[Any] = [
        (np.int64(0), (np.int64(1), "ab")),
        (np.int64(1), np.array([3, 0])),
        (np.int64(0), (np.int64(0), np.int64(1))),
    ]
    steps = Steps(
        observations=observations,
        actions=choices,
        rewards=np.zeros((n, 2), "<f4"),
        terminated=_flags(n, last=True),
        truncated=_flags(n, last=True),
        infos=[{} for _ in range(n)],
        metadata={"zero": 0, "empty": ""},
        seed=0,
        options={},
        **_facts(5),
    )
    return Golden(WALK, steps, space, action)


def _untold() -> Golden:
    """Spaces that nobody knows, and infos of every dtype."""
    n = 5
    infos: list[dict[str, Any]] = [
        {
            "when": np.datetime64("2026-01-01", "D") + t,
            "took": np.timedelta64(t, "ms"),
            "word": np.str_("wörd"[: 4 - t % 2].ljust(4, "-")),
            "code": np.bytes_(b"c%d" % t),
            "z": np.complex128(t + 1j),
            "half": np.float16(t / 4),
            "flag": np.bool_(t % 2),
            "mixed": t if t % 2 else float(t),
            "empty": np.zeros((0, 3), "<f4"),
            "list": [t, [None, "x"]],
            "gone": {} if t else None,
            "bits": np.array([t], ">u4"),
        }
        for t in range(n)
    ]
    steps = Steps(
        observations=[{"speed": [t / 2, 1.0], "name": "abc"[: t % 3]} for t in range(n + 1)],
        actions=[(t, True) for t in range(n)],
        rewards=[np.float64(t) for t in range(n)],
        terminated=[False] * n,
        truncated=[False] * (n - 1) + [True],
        infos=infos,
        **_facts(6),
    )
    return Golden(FIELD, steps, None, None)


def _shapes() -> Golden:
    """Leaves of other dtypes and shapes, rows without bytes, columns of about 64 KiB."""
    n = 8
    space = spaces.Dict(
        {
            "just-below": spaces.Box(-np.inf, np.inf, (909,), np.float64),
            "just-above": spaces.Box(-np.inf, np.inf, (911,), np.float64),
            "small": spaces.Box(-8, 8, (3,), np.int16),
            "nothing": spaces.Box(-1, 1, (0, 2), np.float32),
            "unsigned": spaces.Discrete(200, dtype=np.uint8),
        }
    )
    observations = [
        {
            "just-below": np.arange(909) * 0.5 + t,
            "just-above": np.arange(911) * 0.25 - t,
            "small": np.array([t, -t, 0], np.int16),
            "nothing": np.zeros((0, 2), np.float32),
            "unsigned": np.uint8(t),
        }
        for t in range(n + 1)
    ]
    action = spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]), start=np.array([[0, 1], [-1, 0]]))
    steps = Steps(
        observations=observations,
        actions=[np.array([[t % 2, 1], [t % 4 - 1, 0]]) for t in range(n)],
        rewards=[True] * n,
        terminated=_flags(n, last=True),
        truncated=_flags(n, last=False),
        infos=[{} for _ in range(n)],
        **_facts(7),
    )
    return Golden(WALK, steps, space, action)
