"""Every order of events of the model: which rules of cleaning lose data, and that ours do not."""

import pytest

from tests.odb.maintenance.gcmodel import Rules, explore


def test_our_rules_lose_nothing_in_any_order():
    found = explore(Rules())
    assert (found.lost, found.out_of_sight) == (0, 0), found.example
    assert found.states > 10_000


def test_what_is_left_out_as_another_has_it_is_lost_where_nobody_looks_afterwards():
    trusting = Rules(
        trusts_copies=True, checks_after=False, looks_again=False, looks_before_removing=False
    )
    assert explore(trusting).lost > 0


@pytest.mark.parametrize(
    "rules",
    [
        Rules(looks_before_removing=False),
        Rules(looks_again=False),
        Rules(only_merges=True, trusts_copies=True, checks_after=False),
    ],
    ids=["before removing", "at the end", "after a pack was moved, where packs are only merged"],
)
def test_each_look_is_needed(rules: Rules):
    found = explore(rules)
    assert found.lost + found.out_of_sight > 0


@pytest.mark.parametrize("trusts_copies", [False, True])
def test_who_only_merges_needs_but_the_look_after_a_pack_was_moved(trusts_copies: bool):
    found = explore(Rules(only_merges=True, trusts_copies=trusts_copies))
    assert (found.lost, found.out_of_sight) == (0, 0), found.example
