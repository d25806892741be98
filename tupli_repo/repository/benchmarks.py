"""Benchmarks between the object store and the codec.

A benchmark is one record that links its environment's document, the document's large arrays, and
the artifacts it needs, in this order.

Invariant: a benchmark's text is read exactly as it was handed in; nothing is decoded.
"""

from typing import NamedTuple

from tupli_repo.codec import env as env_codec
from tupli_repo.codec.env.document import FORMAT as ENV_FORMAT
from tupli_repo.codec.records import BenchmarkBody
from tupli_repo.errors import CorruptObjectError, EncodingError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository.artifacts import read_pieces
from tupli_repo.repository.records import Record
from tupli_repo.repository.shelf import Shelf, benchmark_header
from tupli_repo.schema import BenchmarkHeader, BenchmarkQuery

OPAQUE = "opaque"
"""The ``env_format`` of a text that is no environment document of ours: kept, never decoded."""

_MAX_TEXT_BYTES = 8 << 20
"""What a document may have beside its large arrays."""


class _Parts(NamedTuple):
    """A benchmark's text as it is stored."""

    env_format: str
    text: str
    blobs: list[bytes]
    artifacts: list[ObjectId]


class Benchmarks:
    """The benchmarks of a repository.

    Args:
        store: Where they are.
        shelf: What of them is visible.
    """

    def __init__(self, store: ObjectStore, shelf: Shelf) -> None:
        self._store = store
        self._shelf = shelf

    def add(self, query: BenchmarkQuery, *, user: str) -> BenchmarkHeader:
        """Store a benchmark and note who stored it on what; the same one is stored once.

        An environment document speaks for itself; of other texts the one with the same hash is it.

        Raises:
            EncodingError: Its metadata cannot be stored, or its environment is too large.
            NotFoundError: It names an artifact that is not here.
            CorruptObjectError: Its text carries our format's name and is damaged, or that of the
                environment to evaluate in is.
        """
        parts = self._parts(query.serialized)
        beside = self._evaluation(query.evaluation) if query.evaluation else []
        artifacts = [*parts.artifacts, *(oid for oid in beside if oid not in parts.artifacts)]
        self._store.refresh()
        oid = self._known(query.hash) if parts.env_format == OPAQUE else None
        if oid is None:
            body = BenchmarkBody(
                **dict(query.metadata),
                hash=query.hash,
                env_format=parts.env_format,
                wrapper=query.wrapper,
                n_artifacts=len(artifacts),
                evaluation=beside[0] if beside else "",
            )
            body.dump()  # what cannot be stored is told before anything is
            blobs = [self._write(blob) for blob in parts.blobs]
            links = (self._write(parts.text.encode()), *blobs, *artifacts)
            oid = self._shelf.benchmarks.add(body, links=links)
            self._shelf.tombstones.reveal([oid], user=user)
            self._store.hold([*links, oid])
            record = Record(links, body)
        else:
            record = self._shelf.benchmarks.all()[oid]
        first = self._shelf.provenance.note(
            oid, user=user, packages=query.packages, sources=query.sources
        )
        return benchmark_header(oid, record, {oid: first}, self._shelf.groups())

    def text(self, oid: ObjectId) -> str:
        """Return the text of a benchmark's environment.

        Raises:
            CorruptObjectError: It is damaged.
        """
        links, body = self._shelf.benchmarks.all()[oid]
        n_blobs = len(links) - 1 - body.n_artifacts
        if n_blobs < 0:
            raise _damaged(oid, "it lacks a link")
        env, *blobs = (self._store.read(link).body for link in links[: n_blobs + 1])
        try:
            text = env.decode()
            return env_codec.join(text, blobs) if body.env_format == ENV_FORMAT else text
        except UnicodeDecodeError:
            raise _damaged(oid, "no text") from None
        except CorruptObjectError as err:
            raise _damaged(oid, err.reason) from None

    def _known(self, given_hash: str) -> ObjectId | None:
        found = [h.id for h in self._shelf.benchmark_headers() if h.hash == given_hash]
        return ObjectId(min(found)) if found else None

    def _parts(self, text: str) -> _Parts:
        if not env_codec.is_document(text):
            return _Parts(OPAQUE, text, [], [])
        document = env_codec.parse(text)
        spilled = env_codec.spill(text)
        if len(spilled.text) > _MAX_TEXT_BYTES:
            raise EncodingError(
                f"the environment has {len(spilled.text)} bytes beside its arrays,"
                f" {_MAX_TEXT_BYTES} are the limit",
                hint="keep large data in arrays, or as an artifact",
            )
        artifacts = [self._shelf.resolve(oid, Kind.ARTIFACT) for oid in document.artifacts]
        return _Parts(ENV_FORMAT, spilled.text, spilled.blobs, artifacts)

    def _evaluation(self, uri: str) -> list[ObjectId]:
        """The artifact that holds an environment to evaluate in, and those that it needs."""
        oid = self._shelf.resolve(uri, Kind.ARTIFACT)
        pieces = read_pieces(self._store, oid, *self._shelf.artifacts.all()[oid])
        try:
            text = b"".join(pieces).decode()
        except UnicodeDecodeError:
            raise _damaged(oid, "no text", what="artifact") from None
        needed = env_codec.parse(text).artifacts if env_codec.is_document(text) else ()
        found = [self._shelf.resolve(one, Kind.ARTIFACT) for one in needed]
        return list(dict.fromkeys([oid, *found]))

    def _write(self, body: bytes) -> ObjectId:
        return self._store.write(Object(kind=Kind.BLOB, body=body))


def _damaged(oid: ObjectId, why: str, *, what: str = "benchmark") -> CorruptObjectError:
    return CorruptObjectError(f"{what} '{oid[:12]}' is damaged: {why}")
