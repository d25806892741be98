"""Which names a stored document may bring to life, decided by text alone.

Invariant: a name is allowed only because it stands in the frozen lists below, because this user
granted it, or because the whole document was vouched for by its SHA-256; a name under
``NEVER_ROOTS`` is never allowed beyond the frozen lists, whoever grants it. Nothing here imports
what it judges, nor gymnasium, numpy or jsonpickle.

Grants are ``'pkg.mod.Class'`` (exactly that name), a class itself, which stands for its name, or
``'pkg.*'`` (classes defined under ``pkg``; never functions). They come from the user: per call, or
from the user's own configuration. Nothing in a repository can grant.

What ``'pkg.*'`` lets a document do: import any module under ``pkg``, run the constructor of any
environment or wrapper there and the ``__setstate__`` of any class, and hand any class over as a
value, or an instance with attributes of the document's. A constructor may copy or compare the
instance it is handed, which runs methods of its class. Trusted code that calls what it is handed
then calls that class, with arguments of the document's. So a class that a
``functools.partial`` or the factory of a ``defaultdict`` holds needs its exact name, as a function
does; but one that stands in an attribute or an argument, such as ``func=`` of a wrapper of
gymnasium's, does not. Grant ``'pkg.*'`` only where every class of ``pkg`` may be called.
"""

import re
import sys
from collections.abc import Iterable
from enum import StrEnum

from tupli_repo.errors import InvalidInputError


class NameKind(StrEnum):
    """What a document wants a name for; decoding checks that it is one."""

    ENV = "environment"
    WRAPPER = "wrapper"
    OBJECT = "class of an object"
    TYPE = "type"
    CALLED = "type that is called"
    FUNCTION = "function"


NEEDS_EXACT_NAME = frozenset({NameKind.CALLED, NameKind.FUNCTION})
"""What no ``'pkg.*'`` grants."""


def _under(package: str, names: str) -> frozenset[str]:
    return frozenset(f"{package}.{name}" for name in names.split())


DEFAULT_ENVS = _under(
    "gymnasium.envs",
    """
    box2d.bipedal_walker.BipedalWalker box2d.car_racing.CarRacing box2d.lunar_lander.LunarLander
    classic_control.acrobot.AcrobotEnv classic_control.cartpole.CartPoleEnv
    classic_control.continuous_mountain_car.Continuous_MountainCarEnv
    classic_control.mountain_car.MountainCarEnv classic_control.pendulum.PendulumEnv
    mujoco.ant_v4.AntEnv mujoco.ant_v5.AntEnv
    mujoco.half_cheetah_v4.HalfCheetahEnv mujoco.half_cheetah_v5.HalfCheetahEnv
    mujoco.hopper_v4.HopperEnv mujoco.hopper_v5.HopperEnv
    mujoco.humanoid_v4.HumanoidEnv mujoco.humanoid_v5.HumanoidEnv
    mujoco.humanoidstandup_v4.HumanoidStandupEnv mujoco.humanoidstandup_v5.HumanoidStandupEnv
    mujoco.inverted_double_pendulum_v4.InvertedDoublePendulumEnv
    mujoco.inverted_double_pendulum_v5.InvertedDoublePendulumEnv
    mujoco.inverted_pendulum_v4.InvertedPendulumEnv mujoco.inverted_pendulum_v5.InvertedPendulumEnv
    mujoco.pusher_v4.PusherEnv mujoco.pusher_v5.PusherEnv
    mujoco.reacher_v4.ReacherEnv mujoco.reacher_v5.ReacherEnv
    mujoco.swimmer_v4.SwimmerEnv mujoco.swimmer_v5.SwimmerEnv
    mujoco.walker2d_v4.Walker2dEnv mujoco.walker2d_v5.Walker2dEnv
    phys2d.cartpole.CartPoleJaxEnv phys2d.pendulum.PendulumJaxEnv
    tabular.blackjack.BlackJackJaxEnv tabular.cliffwalking.CliffWalkingJaxEnv
    toy_text.blackjack.BlackjackEnv toy_text.cliffwalking.CliffWalkingEnv
    toy_text.frozen_lake.FrozenLakeEnv toy_text.taxi.TaxiEnv
    """,
)
"""Environments of gymnasium that only compute."""

DEFAULT_WRAPPERS = _under(
    "gymnasium.wrappers",
    """
    atari_preprocessing.AtariPreprocessing common.Autoreset common.OrderEnforcing
    common.PassiveEnvChecker common.RecordEpisodeStatistics common.TimeLimit
    rendering.AddWhiteNoise rendering.ObstructView rendering.RenderCollection
    stateful_action.RepeatAction stateful_action.StickyAction
    stateful_observation.DelayObservation stateful_observation.FrameStackObservation
    stateful_observation.MaxAndSkipObservation stateful_observation.NormalizeObservation
    stateful_observation.TimeAwareObservation stateful_reward.NormalizeReward
    transform_action.ClipAction transform_action.DiscretizeAction transform_action.RescaleAction
    transform_action.TransformAction transform_observation.AddRenderObservation
    transform_observation.DiscretizeObservation transform_observation.DtypeObservation
    transform_observation.FilterObservation transform_observation.FlattenObservation
    transform_observation.GrayscaleObservation transform_observation.RescaleObservation
    transform_observation.ReshapeObservation transform_observation.ResizeObservation
    transform_observation.TransformObservation transform_reward.ClipReward
    transform_reward.TransformReward
    """,
)
"""Wrappers without side effects: not those that write files, open windows or import by name."""

DEFAULT_TYPES = (
    _under("builtins", "NoneType bool bytes complex dict float frozenset int list set str tuple")
    | _under("numpy", "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64")
    | _under("numpy", "float16 float32 float64 complex64 complex128 str_ bytes_")
    | _under("collections", "OrderedDict defaultdict deque Counter")
)
"""Types that a document may mention, as a dtype or a default factory does."""

DEFAULT_FUNCTIONS = (
    _under("builtins", "abs len max min round sum")
    | _under("math", "acos asin atan atan2 ceil cos cosh exp expm1 fabs floor hypot isfinite isnan")
    | _under("math", "log log10 log1p log2 sin sinh sqrt tan tanh")
    | _under("numpy", "absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil")
    | _under("numpy", "conjugate copysign cos cosh deg2rad degrees divide equal exp exp2 expm1")
    | _under("numpy", "fabs float_power floor floor_divide fmax fmin fmod greater greater_equal")
    | _under("numpy", "heaviside hypot invert isfinite isinf isnan less less_equal log log10 log1p")
    | _under("numpy", "log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor")
    | _under("numpy", "matmul maximum minimum multiply negative not_equal positive power rad2deg")
    | _under(
        "numpy", "radians reciprocal remainder rint sign signbit sin sinh sqrt square subtract"
    )
    | _under("numpy", "tan tanh trunc")
)
"""Functions that only compute a number."""

NEVER_ROOTS = frozenset(sys.stdlib_module_names) | frozenset(
    [
        "__builtin__",
        "exceptions",
        "copy_reg",
        "cPickle",
        "cloudpickle",
        "dill",
        "joblib",
        "jsonpickle",
        "yaml",
        "ruamel",
        "cffi",
        "pip",
        "setuptools",
        "pkg_resources",
        "distutils",
        "wheel",
        "IPython",
        "ipykernel",
        "jupyter",
        "execnet",
        "pexpect",
        "paramiko",
        "fabric",
        "invoke",
        "sh",
        "plumbum",
        "psutil",
        "numba",
        "llvmlite",
        "cppyy",
        "py",
        "pytest",
        "_pytest",
        "numpy.f2py",
        "numpy.testing",
        "numpy.distutils",
        "numpy.ctypeslib",
        "numpy.load",
        "numpy.memmap",
        "numpy.lib",
        "numpy.random",
        "numpy.fromfile",
        "numpy.save",
        "numpy.savez",
        "numpy.savez_compressed",
        "numpy.savetxt",
        "numpy.loadtxt",
        "numpy.genfromtxt",
        "numpy.DataSource",
        "torch.load",
        "torch.hub",
        "torch.serialization",
        "torch.jit",
        "torch.ops",
        "torch.package",
        "torch.utils",
        "torch._utils",
        "torch.storage",
        "gymnasium.vector",
        "gymnasium.envs.registration",
        "pandas.read_pickle",
        "pandas.io",
        "pandas.eval",
        "tupli_repo",
    ]
)
"""No grant reaches under these: the standard library, serialisers, and libraries' way out."""

NO_WILDCARD_ROOTS = frozenset(
    [
        "numpy",
        "scipy",
        "pandas",
        "torch",
        "jax",
        "jaxlib",
        "tensorflow",
        "keras",
        "sklearn",
        "gymnasium",
        "gym",
        "pettingzoo",
        "matplotlib",
        "PIL",
        "cv2",
        "mujoco",
        "pygame",
        "requests",
        "sympy",
        "networkx",
    ]
)
"""General libraries: exact names only, their whole is too wide to vouch for."""

_DEFAULTS: dict[NameKind, frozenset[str]] = {
    NameKind.ENV: DEFAULT_ENVS,
    NameKind.WRAPPER: DEFAULT_WRAPPERS,
    NameKind.OBJECT: DEFAULT_ENVS | DEFAULT_WRAPPERS,
    NameKind.TYPE: DEFAULT_TYPES,
    NameKind.CALLED: DEFAULT_TYPES,
    NameKind.FUNCTION: DEFAULT_FUNCTIONS,
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)
_WILDCARD = re.compile(r"([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\.\*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")

_OWN_DOCUMENTS: set[str] = set()


def trust_document(sha256: str) -> None:
    """Vouch for a document that this process serialised itself; every policy honours it."""
    _OWN_DOCUMENTS.add(_checked_sha256(sha256))


def is_dotted_name(name: str) -> bool:
    """Say whether ``name`` reads ``package.module.Name``, in ASCII, without dunder parts.

    >>> is_dotted_name("my_envs.windy.WindyEnv"), is_dotted_name("os.__dict__")
    (True, False)
    """
    return (
        len(name) <= 300
        and _NAME.fullmatch(name) is not None
        and not any(part.startswith("__") for part in name.split("."))
    )


def is_never_granted(name: str) -> bool:
    """Say whether ``name`` lies under ``NEVER_ROOTS``.

    >>> is_never_granted("os.system"), is_never_granted("my_envs.WindyEnv")
    (True, False)
    """
    parts = name.split(".")
    return any(".".join(parts[:n]) in NEVER_ROOTS for n in range(1, len(parts) + 1))


def is_default(name: str, kind: NameKind) -> bool:
    """Say whether ``name`` is allowed as ``kind`` for everyone, without a grant."""
    return name in _DEFAULTS[kind]


class TrustPolicy:
    """Which names a document may bring to life; immutable.

    Args:
        names: What the user grants: ``'pkg.mod.Class'`` exactly, that class itself, or ``'pkg.*'``
            for the classes under ``pkg``.
        documents: SHA-256 (64 hex digits) of document texts that are trusted whole.

    Raises:
        InvalidInputError: A name is malformed, too wide, or can never be granted.

    >>> policy = TrustPolicy(["my_envs.*"])
    >>> policy.allows("my_envs.windy.WindyEnv", NameKind.ENV)
    True
    >>> policy.allows("my_envs.windy.helper", NameKind.FUNCTION)
    False
    """

    __slots__ = ("_documents", "_exact", "_prefixes")

    def __init__(self, names: Iterable[str | type] = (), *, documents: Iterable[str] = ()) -> None:
        granted = checked_names(names)
        self._exact = frozenset(name for name in granted if not name.endswith(".*"))
        self._prefixes = tuple(sorted({name[:-1] for name in granted if name.endswith(".*")}))
        self._documents = frozenset(_checked_sha256(sha256) for sha256 in documents)

    @property
    def names(self) -> tuple[str, ...]:
        """What was granted by name, sorted."""
        return tuple(sorted([*self._exact, *(f"{prefix}*" for prefix in self._prefixes)]))

    def __repr__(self) -> str:
        return f"TrustPolicy({list(self.names)!r}, documents={sorted(self._documents)!r})"

    def trusts_document(self, sha256: str) -> bool:
        """Say whether the document with this SHA-256 is trusted whole."""
        return sha256 in self._documents or sha256 in _OWN_DOCUMENTS

    def allows(self, name: str, kind: NameKind, *, document: str | None = None) -> bool:
        """Say whether ``name`` may come to life as ``kind``.

        Args:
            name: The dotted name.
            kind: What it is wanted for.
            document: SHA-256 of the document that asks.
        """
        return is_default(name, kind) or self.grants(name, kind, document=document)

    def grants(self, name: str, kind: NameKind, *, document: str | None = None) -> bool:
        """Say whether the user vouched for ``name``: the defaults do not count."""
        if self.grants_exactly(name, document=document):
            return True
        return (
            kind not in NEEDS_EXACT_NAME
            and is_dotted_name(name)
            and not is_never_granted(name)
            and name.startswith(self._prefixes)
        )

    def grants_exactly(self, name: str, *, document: str | None = None) -> bool:
        """Say whether the user vouched for this very ``name``: a wildcard does not count."""
        if not is_dotted_name(name) or is_never_granted(name):
            return False
        return name in self._exact or (document is not None and self.trusts_document(document))


def checked_names(names: object) -> list[str]:
    """Return grants as text, each once and in their order; a class becomes its dotted name.

    Raises:
        InvalidInputError: One is malformed, too wide, or can never be granted, or they are no list.

    >>> checked_names(["my_envs.*", "my_envs.Windy", "my_envs.*"])
    ['my_envs.*', 'my_envs.Windy']
    """
    if isinstance(names, str):
        raise InvalidInputError(
            f"trust wants a list of names, not the text {names!r:.200}",
            hint=f"trust=[{names!r:.200}]",
        )
    if isinstance(names, bytes | type) or not isinstance(names, Iterable):
        raise InvalidInputError(
            f"trust wants a list of names, not '{names!r:.200}'",
            hint="trust=['pkg.mod.Class'] or trust=['pkg.*']",
        )
    return list(dict.fromkeys(_checked_grant(name) for name in names))


def _checked_grant(grant: object) -> str:
    """Return the text of one grant."""
    name = f"{grant.__module__}.{grant.__qualname__}" if isinstance(grant, type) else grant
    if not isinstance(name, str):
        raise InvalidInputError(
            f"'{grant!r:.200}' is not a name to trust",
            hint="a name is text, 'pkg.mod.Class' or 'pkg.*', or the class itself",
        )
    wildcard = _WILDCARD.fullmatch(name)
    root = wildcard[1] if wildcard else name
    if not is_dotted_name(f"{root}.X" if wildcard else name):
        raise InvalidInputError(
            f"{name!r:.200} is not a name to trust",
            hint="write 'pkg.mod.Class', or 'pkg.*' for its classes",
        )
    if is_never_granted(root):
        raise InvalidInputError(
            f"'{name}' can never be trusted",
            hint="define a class of your own that uses it, and trust that one",
        )
    if wildcard is not None and root.partition(".")[0] in NO_WILDCARD_ROOTS:
        raise InvalidInputError(
            f"'{name}' is too wide to trust", hint=f"name the classes of '{root}' one by one"
        )
    return name


def _checked_sha256(sha256: object) -> str:
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        raise InvalidInputError(
            f"{sha256!r:.200} is not the SHA-256 of a document",
            hint="it has 64 lower-case hex digits",
        )
    return sha256
