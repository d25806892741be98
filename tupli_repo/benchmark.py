"""Benchmarks from environments, and episodes from what happens in them.

Invariant: what is stored of an environment is what a private copy of it says.
"""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Literal, Self

from gymnasium import Env

from tupli_repo.callbacks import EpisodeSummary
from tupli_repo.codec import env as env_codec
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.codec.values import dump_json
from tupli_repo.errors import InvalidInputError, NotFoundError
from tupli_repo.evaluation import evaluation_text, store_evaluation, warn_unlike
from tupli_repo.recording import RecordingWrapper
from tupli_repo.schema import (
    Benchmark,
    BenchmarkMetadata,
    BenchmarkQuery,
    EpisodeMetadataCallback,
    FilterEQ,
    RLTuple,
)
from tupli_repo.storage import TupliStorage
from tupli_repo.wrappers import EnvironmentStore


class TupliEnvWrapper(EnvironmentStore, RecordingWrapper):
    """Stores an environment as a benchmark and records what happens in it.

    ``reset`` and ``step`` return what the environment returns, unchanged. Recording is on from the
    start and begins with a ``reset``; steps behind an episode's end are not recorded, which is told
    once. An episode left in the middle (by ``reset``, ``close`` or ``deactivate_recording``) is
    recorded as truncated. Override `_serialize` and `_deserialize` to keep large parts of an
    environment as artifacts.

    Args:
        env: The environment.
        storage: Where benchmark and episodes go.
        benchmark_id: The benchmark's id, where it is stored already.
        metadata_callback: What makes the episode's metadata: a summary of `tupli_repo.callbacks`,
            which looks at it when it ends; or PyTupli's, which is called with the tuple of every
            recorded step, and what it returns last counts.
        rl_tuple_cls: A subclass's ``from_env_step`` decides what is recorded of each step. ``obs``
            is the observation the action was taken in; the hook is called once more for the
            observation after the last action.
        step_callback: Sees each step before it is recorded, and may change it or leave it out.
        on_abandoned: ``"drop"`` discards episodes that were left in the middle.
        seed_episodes: Whether a ``reset`` without a seed gets one of its own, so that every episode
            can be replayed from its seed alone.
    """

    # ---- storing and loading

    def _store_benchmark(
        self,
        words: BenchmarkMetadata,
        *,
        eval_env: Env[Any, Any] | None,
        exclude: Sequence[str],
        volatile: Sequence[str],
        probe: bool,
    ) -> str:
        told: dict[str, Any] = {"exclude": exclude, "volatile": volatile, "probe": probe}
        digest, serialized = self._prepare_storage(words, **told)
        hooks = _hooks_of(type(self))
        if hooks.startswith("__main__."):
            warnings.warn(
                f"'{type(self).__name__}' is defined in the script that runs: only this script can"
                " load the benchmark; define the class in a module",
                stacklevel=3,
            )
        envs, beside = [(serialized, self.env)], ""
        if eval_env is not None:
            eval_env = eval_env.env if isinstance(eval_env, RecordingWrapper) else eval_env
            beside = self.serialize_env(eval_env, **told)
            warn_unlike(self.env, eval_env)
            envs.append((beside, eval_env))
            digest = self._get_hash([digest, sha256(beside.encode()).hexdigest()])
        packages: dict[str, str] = {}
        sources: dict[str, str] = {}
        documents = []
        for text, env in envs:
            if env_codec.is_document(text):
                self._check_round_trip(text, env, **told)
                documents.append(env_codec.parse(text))
                packages |= env_codec.sources_of(text).packages
                sources |= env_codec.sources_of(text).modules
        evaluation = store_evaluation(self.storage, beside, name=words.name) if beside else ""
        header = self.storage.store_benchmark(
            BenchmarkQuery(
                hash=digest,
                serialized=serialized,
                metadata=words,
                wrapper=hooks,
                packages=packages,
                sources=sources,
                evaluation=evaluation,
            )
        )
        for document in documents:
            self.storage.trust_document(document.sha256)
            if hooks:
                self.storage.trust_document(hooks_token(hooks, document.sha256))
        return header.id

    def publish(self, publish_in: str = "global") -> None:
        """Publish the benchmark; its episodes are published by the storage.

        Args:
            publish_in: The group in which it is to be seen.

        Raises:
            InvalidInputError: It has not been stored.
        """
        self.storage.publish_benchmark(self._stored_id(), publish_in)

    @classmethod
    def load(
        cls,
        storage: TupliStorage,
        benchmark_id: str | None = None,
        metadata_callback: EpisodeMetadataCallback | EpisodeSummary | None = None,
        rl_tuple_cls: type[RLTuple] = RLTuple,
        *,
        eval_env: bool = False,
        trust: Sequence[str | type] = (),
        wrapper: Literal["same", "ignore"] = "same",
        render_mode: str | None = None,
    ) -> Self:
        """Load a benchmark's environment.

        Only code that is trusted is run: gymnasium's own environments, what this user stored in
        this repository or granted for it (``tupli trust``), and what ``trust`` names. Warns where
        the environment's packages or sources are not those it was stored with.

        Args:
            storage: Where it is.
            benchmark_id: Its id or a unique prefix.
            metadata_callback: See `TupliEnvWrapper`.
            rl_tuple_cls: See `TupliEnvWrapper`.
            eval_env: Whether the environment to evaluate in is wanted, which `store` was given. It
                is not the benchmark's, whose id it does not have: recording is off until it is
                stored itself and ``activate_recording()`` is called.
            trust: Names whose code may run: ``pkg.module.Class``, or ``pkg.*``.
            wrapper: Whether the benchmark has to be loaded by the class that stored it (whose
                `_deserialize` it may need), or that may be ignored.
            render_mode: How it shall render, as for ``gymnasium.make``; no part of a benchmark.

        Raises:
            UntrustedCodeError: It wants code that is not trusted; nothing was imported.
            InvalidInputError: Another wrapper class stored it, or its text is none of ours.
            NotFoundError: It is not here, or has no environment to evaluate in.
            CorruptObjectError: It is damaged.
        """
        if benchmark_id is None:
            raise InvalidInputError(
                "no benchmark was named", hint="list_benchmarks() shows the ids"
            )
        stored = storage.load_benchmark(benchmark_id)
        if stored.env_format == "opaque":
            raise _not_ours()
        if wrapper == "same" and stored.wrapper != _hooks_of(cls):
            raise InvalidInputError(
                f"benchmark '{stored.metadata.name}' was stored by"
                f" '{stored.wrapper or TupliEnvWrapper.__name__}'",
                hint="load it with that class; or with wrapper='ignore', without its hooks",
            )
        text = evaluation_text(storage, stored) if eval_env else stored.serialized
        env = cls.deserialize_env(text, storage, trust=trust, render_mode=render_mode)
        changed = storage.changed_code(stored.id)
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            warnings.warn(
                f"benchmark '{stored.metadata.name}' was stored with other code:"
                f" {', '.join(changed[:3])}{more}",
                stacklevel=2,
            )
        if not eval_env:
            return cls(env, storage, stored.id, metadata_callback, rl_tuple_cls)
        found = cls(env, storage, None, metadata_callback, rl_tuple_cls)
        found.deactivate_recording()
        return found

    def delete(self, delete_artifacts: bool = False, delete_episodes: bool = True) -> None:
        """Remove the benchmark from this repository.

        Args:
            delete_artifacts: Whether its artifacts go too, its environment to evaluate in among
                them; one that another benchmark needs stays.
            delete_episodes: Whether its episodes go too.

        Raises:
            InvalidInputError: It has not been stored.
            NotFoundError: It, or its environment to evaluate in, is not here; nothing was removed.
            CorruptObjectError: It is damaged, likewise.
        """
        benchmark_id = self._stored_id()
        stored = self.storage.load_benchmark(benchmark_id)
        artifacts = self._artifacts_of(stored) if delete_artifacts else []
        if delete_episodes:
            of_it = FilterEQ(key="benchmark_id", value=benchmark_id)
            self.storage.delete_episodes(h.id for h in self.storage.list_episodes(of_it))
        self.storage.delete_benchmark(benchmark_id)
        for artifact_id in artifacts:
            with suppress(NotFoundError):  # it was removed with another benchmark of its
                self.storage.delete_artifact(artifact_id)

    def serialize_env(
        self,
        env: Env[Any, Any],
        *,
        exclude: Sequence[str] = (),
        volatile: Sequence[str] = (),
        probe: bool = True,
    ) -> str:
        """Return an environment as text, by way of the `_serialize` hook; ``env`` is not changed.

        This process trusts the text from now on. See `store` for the arguments.

        Raises:
            EncodingError: It holds something that cannot be stored; the message names where.
        """
        document = env_codec.encode(
            env, prepare=self._hook, exclude=exclude, volatile=volatile, probe=probe
        )
        return document.text

    @classmethod
    def deserialize_env(
        cls,
        serialized_env: str,
        storage: TupliStorage | None,
        *,
        trust: Sequence[str | type] = (),
        render_mode: str | None = None,
    ) -> Env[Any, Any]:
        """Return the environment of a text, by way of the `_deserialize` hook.

        Args:
            serialized_env: The text.
            storage: Where its artifacts are, and whose grants count; None where there is none.
            trust: Names whose code may run besides.
            render_mode: How it shall render.

        Raises:
            UntrustedCodeError: It wants code that is not trusted; nothing was imported.
            InvalidInputError: It is no environment document of ours.
            CorruptObjectError: It is damaged.
        """
        if not env_codec.is_document(serialized_env):
            raise _not_ours()
        policy = TrustPolicy(trust) if storage is None else storage.trust_policy(trust)
        document = env_codec.parse(serialized_env)
        env = env_codec.decode(document, policy, render_mode=render_mode)
        return cls._completed(env, storage)

    def _serialize(self, env: Env[Any, Any]) -> tuple[Env[Any, Any], list[str]]:
        """Prepare a private copy of the environment to be stored; override it.

        Args:
            env: The copy, which may be changed in place.

        Returns:
            The environment to store, and the ids of the artifacts it will need.
        """
        return env, []

    @classmethod
    def _deserialize(cls, env: Env[Any, Any], storage: Any) -> Env[Any, Any]:
        """Complete an environment that was just loaded; override it.

        Args:
            env: The environment; ``env.unwrapped.related_artifacts`` are the ids of its artifacts.
            storage: Where the artifacts are, a `TupliStorage`; None where the caller has none.
        """
        return env

    @classmethod
    def _completed(cls, env: Env[Any, Any], storage: TupliStorage | None) -> Env[Any, Any]:
        """Return what the `_deserialize` hook makes of an environment."""
        completed: object = cls._deserialize(env, storage)
        if not isinstance(completed, Env):
            raise InvalidInputError(
                f"'{cls.__qualname__}._deserialize' returned a '{type(completed).__qualname__}'",
                hint="return the environment it was given",
            )
        return completed

    def _check_round_trip(self, text: str, env: Env[Any, Any], **told: Any) -> None:
        """Check that a text brings an environment back, which was encoded with these settings."""
        env_codec.check_round_trip(
            env_codec.parse(text),
            env,
            prepare=self._hook,
            complete=lambda loaded: self._completed(loaded, self.storage),
            **told,
        )

    @property
    def _hook(self) -> env_codec.Prepare | None:
        """The subclass's `_serialize`; None where it has none."""
        own = type(self)._serialize is not TupliEnvWrapper._serialize  # noqa: SLF001 - our own
        return self._serialize if own else None

    def _prepare_storage(
        self,
        metadata: BenchmarkMetadata,
        *,
        exclude: Sequence[str] = (),
        volatile: Sequence[str] = (),
        probe: bool = True,
    ) -> tuple[str, str]:
        """Return the benchmark's hash and its environment's text."""
        serialized = self.serialize_env(self.env, exclude=exclude, volatile=volatile, probe=probe)
        text_hash = sha256(serialized.encode()).hexdigest()
        hooks = _hooks_of(type(self))
        told = [text_hash, metadata.model_dump(), *([hooks] if hooks else [])]
        return self._get_hash(told), serialized

    def _get_hash(self, obj: Any) -> str:
        """Return the SHA-256 of a value's canonical JSON."""
        return sha256(dump_json(obj, name="metadata")).hexdigest()

    def _artifacts_of(self, stored: Benchmark) -> list[str]:
        """The ids of all artifacts of a benchmark, its environment to evaluate in among them."""
        texts, found = [stored.serialized], list[str]()
        if stored.evaluation:
            texts.append(evaluation_text(self.storage, stored))
            found.append(stored.evaluation)
        for text in filter(env_codec.is_document, texts):
            found += env_codec.parse(text).artifacts
        return list(dict.fromkeys(found))

    def _stored_id(self) -> str:
        if self.id is None:
            raise InvalidInputError("the environment is not stored", hint="call store(name) first")
        return self.id


def _not_ours() -> InvalidInputError:
    return InvalidInputError(
        "the benchmark's text is not an environment that tupli stored",
        hint="it is kept as it is; store the environment again with TupliEnvWrapper.store",
    )


def hooks_token(wrapper: str, document: str) -> str:
    """Return what is trusted when a user stores a document through a wrapper class with hooks.

    The trust in a document does not reach the class that a benchmark names beside it: somebody
    else's benchmark may name any.

    Args:
        wrapper: The dotted name of the class.
        document: SHA-256 of the document's text.
    """
    return sha256(f"hooks {wrapper} {document}".encode()).hexdigest()


def _hooks_of(cls: type[TupliEnvWrapper]) -> str:
    """The name of the class that provides `_deserialize`; empty where it is the base."""
    provider = next(c for c in cls.__mro__ if "_deserialize" in vars(c))
    return "" if provider is TupliEnvWrapper else f"{provider.__module__}.{provider.__qualname__}"
