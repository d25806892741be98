"""Sets of episodes and their digest, made of parts."""

from hypothesis import given
from hypothesis import strategies as st

from tupli_repo.odb.objects import ObjectId
from tupli_repo.repository.published.sets import (
    EpisodeSet,
    digest_of,
    digest_of_parts,
    grown,
    is_sorted,
    sets_of,
)

# many begin alike
IDS = st.builds(
    lambda n, end: bytes([n]) * 8 + end,
    st.integers(0, 9),
    st.binary(min_size=24, max_size=24),
)
PARTS = st.lists(st.tuples(IDS, st.integers(0, 3)), unique_by=lambda one: one[0]).map(
    lambda some: [{one for one, part in some if part == n} for n in range(4)]
)


@given(parts=PARTS)
def test_the_digest_of_parts_is_that_of_all(parts):
    joined = [b"".join(sorted(part)) for part in parts]
    assert digest_of_parts(joined) == digest_of(set().union(*parts))
    assert digest_of_parts([]) == digest_of([])
    assert digest_of_parts(joined[:1]) == digest_of(parts[0])


def test_the_digest_of_ids_that_begin_differently_is_that_of_all():
    ids = [bytes([n]) * 32 for n in range(100)]
    assert digest_of_parts([b"".join(ids[::2]), b"".join(ids[1::2])]) == digest_of(ids)


@given(parts=PARTS)
def test_what_has_grown_has_the_sets_that_are_chosen_from_all(parts):
    *old, new = parts
    kept = {ObjectId(digest_of(part)): frozenset(part) for part in old if part}
    sets = [EpisodeSet(oid, members) for oid, members in kept.items()]
    every = frozenset().union(*parts)
    assert grown(sets, new) == grown(sets[::-1], new) == sets_of(every, kept)


def test_ids_out_of_order_or_twice_are_not_sorted():
    ids = [bytes([n]) * 32 for n in range(4)]
    assert is_sorted(b"".join(ids))
    assert is_sorted(b"")
    assert not is_sorted(b"".join(ids[::-1]))
    assert not is_sorted(b"".join([ids[0], ids[0]]))
