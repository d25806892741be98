"""From a document to a live environment, through three gates.

Invariant: no name is imported before every name of the document was allowed; no code runs but the
imports, constructors and ``__setstate__`` of allowed names, and what these do with what they are
handed; whatever the text holds, the outcome is an environment or one of our errors. The gates are
the strict parse and audit, the policy over all names at once, and the closed unpickler, which asks
the policy again for each.
"""

import inspect
from collections.abc import Mapping
from typing import Any, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import DependencyNotInstalled
from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.attributes import RECIPE_RECORD, raw_attributes
from tupli_repo.codec.env.audit import untrusted, wanted_names
from tupli_repo.codec.env.document import EnvDocument, load_json, one_line
from tupli_repo.codec.env.guards import check_arguments
from tupli_repo.codec.env.names import lacking, refusal, resolve
from tupli_repo.codec.env.recipe import AnyEnv, layers_of
from tupli_repo.codec.env.unpickler import ClosedUnpickler, Unfolded, set_attributes
from tupli_repo.codec.trust import NameKind, TrustPolicy
from tupli_repo.errors import CorruptObjectError


def decode(document: EnvDocument, trust: TrustPolicy, *, render_mode: str | None = None) -> AnyEnv:
    """Return a new environment as the document describes it.

    Its ``unwrapped.related_artifacts`` lists the ids of the artifacts it needs. It has no ``spec``.

    Args:
        document: What ``encode`` or ``parse`` returned.
        trust: Which names may come to life.
        render_mode: How it shall render; no part of the document.

    Raises:
        UntrustedCodeError: It names code that ``trust`` does not hold; nothing was imported.
        CorruptObjectError: It is damaged, or its classes do not accept what it stores for them.
        MissingDependencyError: A package it names is not installed, or names it otherwise now.
    """
    tree, sha256 = load_json(document.text), document.sha256
    refused = untrusted(wanted_names(tree), trust, document=sha256)
    if refused:
        raise refusal(refused)
    env = _Builder(trust, sha256).build(tree, render_mode=render_mode)
    try:
        env.unwrapped.related_artifacts = list(tree.get("artifacts", ()))  # type: ignore[attr-defined]
    except Exception as err:
        raise CorruptObjectError(
            f"the environment does not take 'related_artifacts': {_told(err)}"
        ) from err
    return env


class _Builder:
    """Builds the layers of one document from the inside out."""

    def __init__(self, trust: TrustPolicy, sha256: str) -> None:
        self._trust = trust
        self._sha256 = sha256
        self._layers: list[AnyEnv] = []
        self._unfolded = Unfolded()
        self._unpickler = self._new_unpickler(self._layers)

    def build(self, tree: Mapping[str, Any], *, render_mode: str | None) -> AnyEnv:
        """Return the outermost layer."""
        env = self._layer(tree["base"], None, render_mode=render_mode)
        for node in tree["wrappers"]:
            env = self._layer(node, env, render_mode=None)
        for layer in self._layers:
            spec = raw_attributes(layer).get("spec")
            if spec is not None and not isinstance(spec, EnvSpec):
                raise CorruptObjectError("the document is damaged: a 'spec' that is none")
        return env

    def _new_unpickler(self, layers: list[AnyEnv]) -> ClosedUnpickler:
        return ClosedUnpickler(self._resolve, self._may_set_state, layers, self._unfolded)

    def _resolve(self, name: str, kind: NameKind) -> Any:
        return resolve(name, kind, self._trust, document=self._sha256)

    def _may_set_state(self, name: str) -> bool:
        return self._trust.grants(name, NameKind.OBJECT, document=self._sha256)

    def _layer(
        self, node: Mapping[str, Any], inner: AnyEnv | None, *, render_mode: str | None
    ) -> AnyEnv:
        if node["kind"] == "recipe":
            return self._made(node, inner, render_mode=render_mode)
        return self._restored(node, inner, render_mode=render_mode)

    def _made(
        self, node: Mapping[str, Any], inner: AnyEnv | None, *, render_mode: str | None
    ) -> AnyEnv:
        args, kwargs = self._arguments(node)
        make = node["make"]
        name = make[tags.FUNCTION] if tags.FUNCTION in make else make[tags.TYPE]
        check_arguments(name, [args, kwargs])
        maker = self._resolve(name, _kind_of(make, inner))
        recorded_args, recorded_kwargs = self._arguments(node)  # a copy, without code of anybody's
        if render_mode is not None and _accepts(maker, "render_mode"):
            kwargs["render_mode"] = render_mode
        around = () if inner is None else (inner,)
        try:
            env = maker(*around, *args, **kwargs)
        except (ImportError, DependencyNotInstalled) as err:
            raise lacking(name, err) from err
        except (Exception, SystemExit) as err:
            raise CorruptObjectError(
                f"'{name}' does not accept its stored arguments: {_told(err)}",
                hint="another version of its package may",
            ) from err
        self._check_layer(env, inner, name)
        first = len(self._layers)
        self._layers.extend(layers_of(env)[first:])
        overrides = self._unpickler.attributes(node.get("overrides", {}))
        check_arguments(name, overrides)
        record = (maker, tuple(recorded_args), recorded_kwargs)
        set_attributes(self._layers[first], {**overrides, RECIPE_RECORD: record})
        return cast("AnyEnv", env)

    def _arguments(self, node: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        arguments = self._new_unpickler([])
        args = [arguments.value(part) for part in node.get("args", [])]
        return args, arguments.attributes(node.get("kwargs", {}))

    def _restored(
        self, node: Mapping[str, Any], inner: AnyEnv | None, *, render_mode: str | None
    ) -> AnyEnv:
        name = node["class"][tags.TYPE]
        cls = self._resolve(name, NameKind.ENV if inner is None else NameKind.WRAPPER)
        if inner is None and issubclass(cls, gymnasium.Wrapper):
            raise CorruptObjectError(f"'{name}' is a wrapper, and there is nothing to wrap")
        try:
            env: AnyEnv = object.__new__(cls)
        except TypeError as err:
            raise CorruptObjectError(f"'{name}' cannot be made empty: {_told(err)}") from err
        self._layers.append(env)
        if inner is not None:
            set_attributes(env, {"env": inner})
        if "state" in node:
            state = self._unpickler.attributes(node["state"])
            self._unpickler.set_state(name, env, state[""] if set(state) == {""} else state)
        else:
            held = self._unpickler.attributes(node["attributes"])
            check_arguments(name, held)
            set_attributes(env, held)
        if inner is not None:
            set_attributes(env, {"env": inner, "_cached_spec": None})
        if render_mode is not None:
            set_attributes(env, {"render_mode": render_mode})
        return env

    def _check_layer(self, env: object, inner: AnyEnv | None, name: str) -> None:
        if not isinstance(env, gymnasium.Env):
            raise CorruptObjectError(f"'{name}' made no environment")
        if layers_of(env)[: len(self._layers)] != self._layers:
            raise CorruptObjectError(f"'{name}' does not wrap what it was given")
        if inner is not None and len(layers_of(env)) == len(self._layers):
            raise CorruptObjectError(f"'{name}' made no wrapper")


def _kind_of(make: Mapping[str, str], inner: AnyEnv | None) -> NameKind:
    if tags.FUNCTION in make:
        return NameKind.FUNCTION
    return NameKind.ENV if inner is None else NameKind.WRAPPER


def _accepts(maker: Any, argument: str) -> bool:
    try:
        return argument in inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return False


def _told(err: BaseException) -> str:
    return f"{type(err).__name__}: {one_line(err)}"
