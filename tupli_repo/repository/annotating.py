"""What is said of episodes after they were recorded.

Invariant: an episode is never rewritten: its id, and the digest of what holds it, stay as they are.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.objects import ObjectId
from tupli_repo.repository.selecting import SelectingRepository
from tupli_repo.schema import BaseFilter, EpisodeHeader


class AnnotatingRepository(SelectingRepository):
    """A repository whose episodes can be annotated."""

    def annotate(
        self,
        episodes: str | BaseFilter | Iterable[str | EpisodeHeader],
        metadata: Mapping[str, Any],
    ) -> list[ObjectId]:
        """Add metadata to episodes that were recorded; durable when this returns.

        Listings, headers and filters (``metadata.KEY``) show them at once, in place of what the
        episode had under the same key. They are an object of their own: no episode is written
        again, and pins stay what they are. The next revision that is published with one of the
        episodes carries them. Of what several people say under one key, the latest counts.

        Args:
            episodes: Ids or unique prefixes, one or several; headers; or a filter.
            metadata: What is said of each of them. None takes back what was said under a key: what
                was recorded shows again.

        Returns:
            The ids of the episodes.

        Raises:
            NotFoundError: One is not here; nothing is said of any.
            AmbiguousNameError: Several begin with one.
            InvalidInputError: There is no metadata, or a key is not text.
            CorruptObjectError: What was said before is damaged; nothing is said.
            EncodingError: Something in it cannot be stored.
            StorageIOError: The disk refused.

        >>> repo.annotate(["3f2a91c"], {"success": True})  # doctest: +SKIP
        """
        if not isinstance(metadata, Mapping):
            raise InvalidInputError(
                f"a '{type(metadata).__name__}' is no metadata", hint="{'success': True}"
            )
        for key in metadata:
            if not isinstance(key, str):
                raise InvalidInputError(f"the key {key!r} is not text", hint="name it by a text")
        if not metadata:
            raise InvalidInputError("nothing is said", hint="annotate(ids, {'success': True})")
        self._releases.refresh()
        if isinstance(episodes, BaseFilter):
            found = self._shelf.episode_ids(episodes)
        else:
            some = [episodes] if isinstance(episodes, str) else episodes
            uris = (one.id if isinstance(one, EpisodeHeader) else one for one in some)
            found = list(self._subjects.visible_episodes(uris))
        self.flush()
        self._annotations.say(found, metadata, user=self.settings.user_name)
        return sorted(found)
