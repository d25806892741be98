"""PyTupli's account words: there, with its members and defaults, and silent about secrets."""

import pytest
from pydantic import BaseModel, ValidationError

from tupli_repo.schema import (
    DEFAULT_ROLE,
    RESOURCE_TYPE,
    RIGHT,
    RIGHT_BUNDLE_CONTENT_CREATE,
    RIGHT_BUNDLE_CONTENT_DELETE,
    RIGHT_BUNDLE_CONTENT_READ,
    Group,
    GroupMembership,
    GroupMembershipQuery,
    GroupWithMembers,
    Membership,
    Token,
    UpdateUserQuery,
    User,
    UserCredentials,
    UserOut,
    UserRole,
)


def test_members_are_named_like_their_values() -> None:
    for words, count in ((RESOURCE_TYPE, 6), (RIGHT, 18), (DEFAULT_ROLE, 8)):
        members = list(words)
        assert len(members) == count
        assert all(member.name == member.value.upper() for member in members)


@pytest.mark.parametrize(
    ("bundle", "verb"),
    [
        (RIGHT_BUNDLE_CONTENT_READ, "read"),
        (RIGHT_BUNDLE_CONTENT_CREATE, "create"),
        (RIGHT_BUNDLE_CONTENT_DELETE, "delete"),
    ],
)
def test_a_bundle_has_one_right_for_each_kind_of_content(bundle: list[RIGHT], verb: str) -> None:
    assert {right.value for right in bundle} == {
        f"{kind}_{verb}" for kind in ("benchmark", "artifact", "episode")
    }


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (User(username="ada", password="x"), {"username": "ada", "memberships": []}),
        (UserOut(username="ada"), {"username": "ada", "memberships": []}),
        (Group(name="lab"), {"name": "lab", "description": None}),
        (GroupMembership(user="ada"), {"user": "ada", "roles": None}),
        (GroupWithMembers(name="lab"), {"name": "lab", "description": None, "members": []}),
        (UpdateUserQuery(username="ada"), {"username": "ada"}),
        (
            UserRole(role="reader", rights=[RIGHT.EPISODE_READ]),
            {"role": "reader", "rights": ["episode_read"], "description": None},
        ),
    ],
)
def test_defaults_are_the_promised_ones(model: BaseModel, data: dict[str, object]) -> None:
    assert model.model_dump(exclude={"password"}) == data


def test_models_nest_and_read_json() -> None:
    user = User(
        username="ada", password="x", memberships=[Membership(group="lab", roles=["member"])]
    )
    assert User.model_validate_json(user.model_dump_json()) == user
    query = GroupMembershipQuery.model_validate(
        {"group_name": "lab", "members": [{"user": "ada", "roles": ["member"]}]}
    )
    assert query.members == [GroupMembership(user="ada", roles=["member"])]
    with pytest.raises(ValidationError):
        UserRole.model_validate({"role": "reader", "rights": ["fly"]})


def test_no_repr_shows_a_secret() -> None:
    for model in (
        User(username="ada", password="s3cret"),
        UserCredentials(username="ada", password="s3cret"),
        Token(token="s3cret", token_type="bearer"),
    ):
        assert "s3cret" not in repr(model)
        assert "s3cret" not in str(model)
        assert "s3cret" in model.model_dump_json()
