"""Files beside the environments: artifacts, stored and streamed in pieces.

Invariant: an artifact that is listed is whole; its bytes are verified as they are read.
"""

from collections.abc import Iterator
from typing import Any

from tupli_repo.codec.records import ArtifactBody
from tupli_repo.odb.objects import Kind
from tupli_repo.repository.annotating import AnnotatingRepository
from tupli_repo.repository.artifacts import Content, read_pieces, store_pieces
from tupli_repo.repository.shelf import artifact_item
from tupli_repo.schema import ArtifactMetadata, ArtifactMetadataItem, BaseFilter


class FilingRepository(AnnotatingRepository):
    """A repository that keeps files."""

    def store_artifact(self, artifact: Content, metadata: ArtifactMetadata) -> ArtifactMetadataItem:
        """Store a file; durable when this returns.

        The same bytes with the same metadata are the artifact that is here already.

        Args:
            artifact: Bytes, a path, or a file opened for reading bytes; files are streamed.
            metadata: What is said of it.

        Raises:
            EncodingError: Its metadata cannot be stored.
            StorageIOError: The file cannot be read, or the disk refused.
        """
        words = {name: getattr(metadata, name) for name in ArtifactMetadata.model_fields}
        ArtifactBody(**words, hash="0" * 64, size=0).dump()  # tell first what cannot be stored
        pieces = store_pieces(self._store, artifact)
        body = ArtifactBody(**words, hash=pieces.hash, size=pieces.size)
        oid = self._shelf.artifacts.add(body, links=pieces.ids)
        self._releases.refresh()
        self._shelf.tombstones.reveal([oid], user=self.settings.user_name)
        self._store.hold([*pieces.ids, oid])
        first = self._shelf.provenance.note(oid, user=self.settings.user_name)
        return artifact_item(oid, body, {oid: first}, self._shelf.groups())

    def load_artifact(self, uri: str, **kwargs: Any) -> bytes:
        """Return an artifact's bytes, verified.

        Args:
            uri: Its id or a unique prefix.
            **kwargs: Not used; PyTupli's callers may pass some.

        Raises:
            NotFoundError: It is not here.
            CorruptObjectError: It is damaged.
        """
        return b"".join(self.read_artifact(uri))

    def read_artifact(self, uri: str) -> Iterator[bytes]:
        """Iterate over an artifact's bytes, piece by piece, verified.

        Raises:
            NotFoundError: It is not here.
            CorruptObjectError: It is damaged; told at the end at the latest.
        """
        oid = self._shelf.resolve(uri, Kind.ARTIFACT)
        return read_pieces(self._store, oid, *self._shelf.artifacts.all()[oid])

    def artifact(self, uri: str) -> ArtifactMetadataItem:
        """Return the header of one artifact, by id or unique prefix.

        Raises:
            NotFoundError: It is not here.
            AmbiguousNameError: Several begin with that prefix.
        """
        oid = self._shelf.resolve(uri, Kind.ARTIFACT)
        return self._shelf.artifact_item(oid)

    def list_artifacts(self, filter: BaseFilter | None = None) -> list[ArtifactMetadataItem]:
        """Return the artifacts that match, by name and id."""
        self._releases.refresh()
        items = self._shelf.artifact_items()
        found = [one for one in items if filter is None or filter.matches(one.model_dump())]
        return sorted(found, key=lambda item: (item.name, item.id))

    def delete_artifact(self, uri: str) -> None:
        """Hide an artifact here; one that a benchmark needs stays until that is deleted too.

        Raises:
            NotFoundError: It is not here.
        """
        oid = self._shelf.resolve(uri, Kind.ARTIFACT)
        self._shelf.tombstones.hide([oid], user=self.settings.user_name)
