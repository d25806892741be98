"""Episodes by the thousand, written without recording each, and what work on them takes."""

import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.test_storage import episode
from tupli_repo.codec.episode_record import decode_record, encode_record
from tupli_repo.odb.objects import Kind, Object, named
from tupli_repo.odb.pack import PackWriter
from tupli_repo.storage import FileStorage


def add_pack(storage: FileStorage, benchmark_id: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Record an episode, and put others beside it in one pack.

    Args:
        storage: Where; it is closed.
        benchmark_id: Of what.
        records: Of each further episode, the fields in which it differs from the first.
    """
    header = storage.record_episode(episode(benchmark_id, 3))
    storage.close()
    _, first = storage.read_object(header.id)
    fields = decode_record(first.body)
    with PackWriter(storage._files) as writer:
        for link in first.links[1:]:
            writer.add(*named(storage.read_object(link)[1]))
        for differs in records:
            body = encode_record({**fields, **differs})
            writer.add(*named(Object(kind=Kind.EPISODE, links=first.links, body=body)))
        writer.commit()


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that Python has at once while it works."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
