"""Reading what the bytes say: every record, every column, every artifact's hash.

Bytes that are what their names say may still say nonsense, where a program was at fault or somebody
forged them. Environments are text here, and are never decoded.

Invariant: nothing that is stored is brought to life.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256

from tupli_repo.codec import episode as codec
from tupli_repo.codec.episode import Layout
from tupli_repo.codec.episode_record import decode_record
from tupli_repo.codec.records import (
    AnnotationBody,
    ArtifactBody,
    BenchmarkBody,
    ProvenanceBody,
    TombstoneBody,
    parse_body,
)
from tupli_repo.errors import CorruptObjectError, NotFoundError
from tupli_repo.odb.maintenance.check import Survey
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.sets import digest_of
from tupli_repo.schema.checks import Finding

_BATCH_BYTES = 32 << 20
_MAX_LAYOUTS = 64
_FIRST_DATA_LINK = 2  # behind the benchmark and the layout


class Decoding:
    """Decodes everything that can be read, but environments.

    Args:
        survey: What can be read.
        releases: What is published, as it was surveyed.
    """

    def __init__(self, survey: Survey, releases: Releases) -> None:
        self._survey = survey
        self._releases = releases
        self._found: list[Finding] = []
        self._layouts: dict[ObjectId, Layout] = {}

    def run(self) -> list[Finding]:
        """Return what cannot be read; what is missing is left to others."""
        looks: Mapping[Kind, Callable[[ObjectId, Object], object]] = {
            Kind.PROVENANCE: lambda _, obj: parse_body(ProvenanceBody, obj.body),
            Kind.TOMBSTONE: lambda _, obj: parse_body(TombstoneBody, obj.body),
            Kind.ANNOTATION: lambda _, obj: parse_body(AnnotationBody, obj.body),
            Kind.BENCHMARK: self._benchmark,
            Kind.ARTIFACT: self._artifact,
            Kind.EPISODES: self._set,
        }
        for kind, look in looks.items():
            for oid, obj in self._survey.records(kind):
                try:
                    look(oid, obj)
                except CorruptObjectError as err:
                    self._tell(oid, kind, err.reason)
        self._episodes()
        self._names()
        return self._found

    def _tell(self, oid: ObjectId, kind: Kind, why: str) -> None:
        self._found.append(
            Finding(
                severity="error",
                code="malformed",
                object_id=oid,
                kind=kind,
                message=f"{kind} '{oid[:12]}' cannot be read: {why}",
                hint="its bytes are as they were written: a newer version may read it",
            )
        )

    def _benchmark(self, _: ObjectId, obj: Object) -> None:
        body = parse_body(BenchmarkBody, obj.body)
        if not 0 <= body.n_artifacts < len(obj.links):
            raise CorruptObjectError("it has no environment")
        self._expect(obj.links[0], Kind.BLOB)
        artifacts = obj.links[len(obj.links) - body.n_artifacts :]
        for link in artifacts:
            self._expect(link, Kind.ARTIFACT)
        if body.evaluation and body.evaluation not in artifacts:
            raise CorruptObjectError("its evaluation environment is none of its artifacts")

    def _expect(self, link: ObjectId, kind: Kind) -> None:
        found = self._survey.kind_of(link)
        if found not in (None, kind):
            raise CorruptObjectError(f"it links the {found} '{link[:12]}' where a {kind} belongs")

    def _artifact(self, _: ObjectId, obj: Object) -> None:
        body = parse_body(ArtifactBody, obj.body)
        digest, size = sha256(), 0
        for link in obj.links:
            if not self._survey.contains(link):
                return
            self._expect(link, Kind.BLOB)
            piece = self._survey.read(link).body
            digest.update(piece)
            size += len(piece)
        if digest.hexdigest() != body.hash or size != body.size:
            raise CorruptObjectError("its pieces have other bytes than it says")

    def _set(self, _: ObjectId, obj: Object) -> None:
        if list(obj.links) != sorted(set(obj.links)) or obj.body:
            raise CorruptObjectError("its episodes are not sorted, or it says more")

    # ---- episodes

    def _episodes(self) -> None:
        """Decode all columns, as many episodes at a time as fit: blocks are shared by many."""
        batch: list[tuple[ObjectId, Object]] = []
        size_bytes = 0
        for oid, obj in self._survey.records(Kind.EPISODE):
            if len(obj.links) < _FIRST_DATA_LINK:
                self._tell(oid, Kind.EPISODE, "it lacks a link")
                continue
            data = obj.links[1:]
            size_bytes += sum(map(self._survey.length_of, data))
            batch.append((oid, obj))
            if size_bytes > _BATCH_BYTES:
                self._decode(batch)
                batch, size_bytes = [], 0
        self._decode(batch)

    def _decode(self, batch: list[tuple[ObjectId, Object]]) -> None:
        wanted = dict.fromkeys(link for _, obj in batch for link in obj.links[1:])
        blobs = dict(self._survey.read_many(wanted))
        for oid, obj in batch:
            try:
                record = decode_record(obj.body)
                self._expect(obj.links[0], Kind.BENCHMARK)
                if all(link in blobs for link in obj.links[1:]):
                    layout = self._layout(obj.links[1], blobs)
                    parts = [blobs[link].body for link in obj.links[_FIRST_DATA_LINK:]]
                    _check_ends(codec.decode(record, layout, parts))
            except CorruptObjectError as err:
                self._tell(oid, Kind.EPISODE, err.reason)

    def _layout(self, oid: ObjectId, blobs: Mapping[ObjectId, Object]) -> Layout:
        if oid not in self._layouts:
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            self._layouts[oid] = codec.decode_layout(blobs[oid].body)
        return self._layouts[oid]

    # ---- names

    def _names(self) -> None:
        for name in self._survey.refs.names():
            try:
                views = self._releases.views(name)
            except (CorruptObjectError, NotFoundError) as err:
                self._tell_name(str(name), err)
                continue
            for view in views.values():
                try:
                    episodes = self._releases.episodes(view)
                    self._releases.withdrawn(view)
                except (CorruptObjectError, NotFoundError) as err:
                    self._tell(view.record.release, Kind.RELEASE, err.message)
                    continue
                if digest_of(episodes) != view.body.digest:
                    self._tell(view.record.release, Kind.RELEASE, "its digest is wrong")

    def _tell_name(self, name: str, err: CorruptObjectError | NotFoundError) -> None:
        self._found.append(
            Finding(
                severity="error",
                code="malformed",
                path=f"refs/{name}",
                message=f"its history cannot be read: {err.message}",
                hint="whoever published it should be asked",
                affects=(f"name '{name}'",),
            )
        )


def _check_ends(data: codec.EpisodeData) -> None:
    """Check that the record says of the last step what the columns say."""
    for flag in ("terminated", "truncated"):
        column = data.columns[flag]
        if len(column) != data.n_steps or bool(column[-1]) is not data.record[flag]:
            raise CorruptObjectError(f"its record and its column '{flag}' disagree")
