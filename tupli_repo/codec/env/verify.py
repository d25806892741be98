"""The closing check: what was encoded loads again, says the same, and runs the same.

Invariant: ``check_round_trip`` returns only if the decoded environment has the text it came from
and, where it may be stepped, gave the original's observations, rewards and flags bit for bit and
holds the same after a reset; what the original itself does not repeat is only warned about. The
live environment is never reset or stepped, and the global random generators are left as they were.
"""

import copy
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gymnasium
from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.decode import decode
from tupli_repo.codec.env.document import EnvDocument, load_json
from tupli_repo.codec.env.encode import Prepare, describe, text_of_decoded
from tupli_repo.codec.env.flattened import ComparingPickler
from tupli_repo.codec.env.lasting import as_glob
from tupli_repo.codec.env.leaves import differing, leaves_of
from tupli_repo.codec.env.probing import Configuration, configuration_of, untouched_randomness
from tupli_repo.codec.env.recipe import AnyEnv, layers_of
from tupli_repo.codec.env.resets import not_set_anew
from tupli_repo.codec.env.values.handlers import VALUE_TYPES
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import EncodingError, TupliError

Complete = Callable[[AnyEnv], AnyEnv]

_PARTS_OF_A_LAYER = ("attributes", "kwargs", "overrides", "state")
_SEEDS = (0, 1)
_SHOWN = 3
_STEPS = 50
_LONGEST_S = 20.0


def check_round_trip(
    document: EnvDocument,
    env: AnyEnv,
    *,
    prepare: Prepare | None = None,
    complete: Complete | None = None,
    exclude: Sequence[str] = (),
    probe: bool = True,
    volatile: Sequence[str] = (),
) -> None:
    """Check that ``document`` brings ``env`` back; ``encode`` wrote it with the same arguments.

    It decodes, and compares the text of what came out; without hooks it also encodes that anew.
    Then a private copy of ``env`` and the decoded environment are reset with the seeds 0 and 1 and
    stepped 50 times each, with the same actions; fewer times where that takes longer than 20 s.

    Cost: about three times that of ``encode``, and 220 steps; with ``probe=False`` two
    constructions and no step. Where the results differ, up to 400 more steps tell why.

    Args:
        document: What ``encode`` returned.
        env: What it was given; only read.
        prepare: The hook it was given.
        complete: Puts back what the hook took out. A document written with a hook is not stepped
            without it.
        exclude: As for ``encode``.
        probe: Whether anything may be reset and stepped.
        volatile: As for ``encode``.

    Raises:
        EncodingError: It does not come back; the message names the attribute or the step.
    """
    with untouched_randomness():
        note = _check(
            document,
            env,
            hooked=prepare is not None,
            complete=complete,
            options={"exclude": exclude, "probe": probe, "volatile": volatile},
        )
    if note:
        warnings.warn(note, stacklevel=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mismatch:
    """Where two runs part.

    Args:
        what: Observation, reward, a flag, or the behaviour, where one of both raised.
        seed: Which run.
        step: 0 is the reset.
    """

    what: str
    seed: int
    step: int

    def __str__(self) -> str:
        at = f"step {self.step}" if self.step else "the reset"
        return f"{self.what} differs at {at} (seed {self.seed})"


def _check(
    document: EnvDocument,
    env: AnyEnv,
    *,
    hooked: bool,
    complete: Complete | None,
    options: dict[str, Any],
) -> str:
    """Return what to warn about, empty where there is nothing."""
    loaded = _decoded(document)
    again = text_of_decoded(loaded, document, exclude=options["exclude"])
    if again != document.text:
        raise _says_otherwise(document.text, again, "holds something else")
    note = ""
    if options["probe"] and not hooked:
        note = _encoded_anew(document, loaded, env, options)
    if options["probe"] and (complete is not None or not hooked):
        found = configuration_of(env, **options)
        note = _run_alike(document, found, complete) or note
        if not hooked:
            _refuse_lost(document, found, options["volatile"])
    return note


def _decoded(document: EnvDocument) -> AnyEnv:
    try:
        return decode(document, TrustPolicy(documents=[document.sha256]))
    except TupliError as err:
        raise EncodingError(
            f"what was stored cannot be loaded again: {err.message}",
            hint=err.hint or "exclude what its classes do not accept, or give them __setstate__",
        ) from err


def _encoded_anew(
    document: EnvDocument, loaded: AnyEnv, env: AnyEnv, options: dict[str, Any]
) -> str:
    """Check that storing the decoded environment would give the same document."""
    try:
        again, _ = describe(loaded, prepare=None, **options)
    except EncodingError as err:
        raise EncodingError(
            f"what was stored, loaded, cannot be stored again: {err.message}", hint=err.hint
        ) from err
    if again.text == document.text:
        return ""
    repeated, _ = describe(env, prepare=None, **options)
    if repeated.text == document.text:
        raise _says_otherwise(document.text, again.text, "stored again, says something else")
    path = _first_difference(document.text, repeated.text)
    return (
        f"'{path}' is not the same from one time to the next, and so is the benchmark's id:"
        f" exclude it, say volatile=['{as_glob(path)}'], or draw it from self.np_random"
    )


def _says_otherwise(text: str, again: str, how: str) -> EncodingError:
    path = _first_difference(text, again)
    return EncodingError(
        f"'{path}' does not come back: the loaded environment {how}",
        hint=f"exclude it, make it anew in reset() and say volatile=['{as_glob(path)}'], or give"
        " its class __getstate__",
    )


def _first_difference(text: str, other: str) -> str:
    """Return where two documents first differ, as ``exclude`` and ``volatile`` name the place."""
    parts = list(_way_to_difference(load_json(text), load_json(other)))
    layer = 2 if parts[:1] == ["wrappers"] else 1
    if len(parts) > layer and parts[layer] in _PARTS_OF_A_LAYER:
        del parts[layer]
    return "/" + "/".join(part for part in parts if not part.startswith("py/"))


def _way_to_difference(ours: Any, theirs: Any) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        value_type = VALUE_TYPES.get(ours.get(tags.OBJECT, ""))
        if value_type is not None and not value_type.holds:
            return  # what is in it has no path of its own
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in ours or key not in theirs:
                yield key
                return
            if ours[key] != theirs[key]:
                yield key
                yield from _way_to_difference(ours[key], theirs[key])
                return
    if isinstance(ours, list) and isinstance(theirs, list):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
            if mine != other:
                yield str(index)
                yield from _way_to_difference(mine, other)
                return


def _refuse_lost(document: EnvDocument, found: Configuration, volatile: Sequence[str]) -> None:
    """Check that each reset brings back what the document leaves at zero.

    Raises:
        EncodingError: One does not: it changes what is there.
    """
    path = not_set_anew(
        lambda: found.copy(by_state=False),
        lambda: _decoded(document),
        found.plan,
        volatile=volatile,
    )
    if path:
        raise EncodingError(
            f"'{path}' does not come back: reset changes a part of what is"
            " there, and keeps the rest",
            hint="let an attribute of its own hold what stays, and reset make this one from that;"
            f" or say volatile=['{as_glob(path)}'] if zero may stand for it",
        )


# ---- running both --------------------------------------------------------------------------------


def _run_alike(document: EnvDocument, found: Configuration, complete: Complete | None) -> str:
    """Check that original and decoded run the same; return what to warn about."""

    def original() -> AnyEnv:
        return found.copy(by_state=False)

    def restored() -> AnyEnv:
        loaded = _decoded(document)
        return loaded if complete is None else _completed(loaded, complete)

    apart = _first_mismatch(original, restored)
    if apart is None:
        return ""
    for make in (original, restored):
        by_itself = _first_mismatch(make, make)
        if by_itself is not None:
            return (
                f"the environment cannot be replayed exactly: with one seed and the same actions"
                f" its {by_itself}; draw what is random from self.np_random"
            )
    attributes = _parting(original(), restored(), found, seed=apart.seed)
    at = f"; not what it was: {attributes}" if attributes else ""
    raise EncodingError(
        f"the loaded environment runs otherwise than the original: its {apart}{at}",
        hint="give the class that holds it EzPickle or __getstate__, or set it in reset()",
    )


def _completed(loaded: AnyEnv, complete: Complete) -> AnyEnv:
    try:
        completed: object = complete(loaded)
    except TupliError:
        raise
    except Exception as err:
        raise EncodingError(
            f"the hook cannot complete what was stored: {type(err).__name__}: {err}",
            hint="_deserialize has to put back what _serialize took out",
        ) from err
    if not isinstance(completed, gymnasium.Env):
        raise EncodingError(
            f"the hook that completes what was stored returned a '{type(completed).__qualname__}'",
            hint="_deserialize has to return the environment",
        )
    return completed


def _first_mismatch(
    make_ours: Callable[[], AnyEnv], make_theirs: Callable[[], AnyEnv]
) -> _Mismatch | None:
    ours, theirs = make_ours(), make_theirs()
    started = time.monotonic()
    try:
        for seed in _SEEDS:
            runs = zip(_run(ours, seed), _run(theirs, seed), strict=False)
            for (step, mine), (_, other) in runs:
                what = _what_differs(mine, other)
                if what:
                    return _Mismatch(what=what, seed=seed, step=step)
                if time.monotonic() - started > _LONGEST_S:
                    return None
    finally:
        for used in (ours, theirs):
            with suppress(Exception):
                used.close()
    return None


def _what_differs(mine: dict[str, Any], other: dict[str, Any]) -> str:
    for raised in (mine.get("exception"), other.get("exception")):
        if raised is not None and mine != other:
            return f"behaviour ('{raised}' in one of both)"
    names = [*mine, *(name for name in other if name not in mine)]
    return next((name for name in names if mine.get(name) != other.get(name)), "")


def _run(env: AnyEnv, seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (step, what it gave by name); what is raised ends it and is what the step gave."""
    step = 0
    try:
        observation, _ = env.reset(seed=seed)
        yield step, {"observation": _exact(observation)}
        actions = copy.deepcopy(env.action_space)  # some environments replace theirs in reset
        actions.seed(seed)
        for step in range(1, _STEPS + 1):
            observation, reward, terminated, truncated, _ = env.step(actions.sample())
            seen = {
                "observation": _exact(observation),
                "reward": _exact(reward),
                "terminated": bool(terminated),
                "truncated": bool(truncated),
            }
            if terminated or truncated:
                seen["observation after the reset"] = _exact(env.reset()[0])
            yield step, seen
    except (Exception, SystemExit) as err:  # noqa: BLE001 - it may raise anything; both have to
        yield step, {"exception": f"{type(err).__name__}: {err}"}


def _exact(value: Any) -> dict[str, str]:
    """Return what ``value`` is to the last bit: type, dtype, shape and bytes of each part."""
    pickler = ComparingPickler()
    pickler.node(value, "")
    return pickler.leaves


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _parting(ours: AnyEnv, theirs: AnyEnv, found: Configuration, *, seed: int) -> str:
    """Return the paths of attributes that differ after a reset, quoted; empty if none does."""
    for env in (ours, theirs):
        with suppress(Exception):
            env.reset(seed=seed)
    layers, others = layers_of(ours), layers_of(theirs)
    if [type(layer) for layer in layers] != [type(layer) for layer in others]:
        return ""
    for mine, other in zip(
        leaves_of(layers, found.plan), leaves_of(others, found.plan), strict=True
    ):
        seen = mine.rendering | other.rendering
        paths = sorted(path for path in differing(mine, other) if path not in seen)
        if paths:
            whole = (path.removesuffix("/@") for path in paths if _parent(path) not in paths)
            quoted = dict.fromkeys(f"'{path}'" for path in whole)
            return ", ".join([*quoted][:_SHOWN]) + (" ..." if len(quoted) > _SHOWN else "")
    return ""
