"""PyTupli's words for accounts, groups and roles, kept so that old imports work.

Invariant: nothing in this package reads them. A repository is a folder: who may read or write it
is decided by the folder's permissions, and a group is a label under which things are published.
The models check the form of such data, where a caller still handles some, and grant nothing.
"""

from enum import StrEnum

from pydantic import BaseModel, Field


class RESOURCE_TYPE(StrEnum):  # noqa: N801 - PyTupli's name
    """What a right is about."""

    ARTIFACT = "artifact"
    BENCHMARK = "benchmark"
    EPISODE = "episode"
    USER = "user"
    GROUP = "group"
    ROLE = "role"


class RIGHT(StrEnum):
    """What a role allows on PyTupli's server."""

    BENCHMARK_CREATE = "benchmark_create"
    BENCHMARK_READ = "benchmark_read"
    BENCHMARK_DELETE = "benchmark_delete"
    ARTIFACT_CREATE = "artifact_create"
    ARTIFACT_READ = "artifact_read"
    ARTIFACT_DELETE = "artifact_delete"
    EPISODE_CREATE = "episode_create"
    EPISODE_READ = "episode_read"
    EPISODE_DELETE = "episode_delete"
    USER_CREATE = "user_create"
    USER_READ = "user_read"
    USER_UPDATE = "user_update"
    USER_DELETE = "user_delete"
    GROUP_CREATE = "group_create"
    GROUP_READ = "group_read"
    GROUP_UPDATE = "group_update"
    GROUP_DELETE = "group_delete"
    ROLE_MANAGEMENT = "role_management"


class DEFAULT_ROLE(StrEnum):  # noqa: N801 - PyTupli's name
    """The roles every server of PyTupli knows."""

    ADMIN = "admin"
    CONTENT_ADMIN = "content_admin"
    USER_ADMIN = "user_admin"
    GROUP_ADMIN = "group_admin"
    CONTRIBUTOR = "contributor"
    MEMBER = "member"
    GLOBAL_MEMBER = "global_member"
    GUEST = "guest"


RIGHT_BUNDLE_CONTENT_READ = [RIGHT.BENCHMARK_READ, RIGHT.ARTIFACT_READ, RIGHT.EPISODE_READ]
RIGHT_BUNDLE_CONTENT_CREATE = [RIGHT.BENCHMARK_CREATE, RIGHT.ARTIFACT_CREATE, RIGHT.EPISODE_CREATE]
RIGHT_BUNDLE_CONTENT_DELETE = [RIGHT.BENCHMARK_DELETE, RIGHT.ARTIFACT_DELETE, RIGHT.EPISODE_DELETE]


class Membership(BaseModel):
    """The roles a user has in a group."""

    group: str
    roles: list[str]


class User(BaseModel):
    """A user with their password, which no ``repr`` shows."""

    username: str
    password: str = Field(repr=False)
    memberships: list[Membership] = Field(default_factory=list)


class UserOut(BaseModel):
    """A user as others see them."""

    username: str
    memberships: list[Membership] = Field(default_factory=list)


class UserRole(BaseModel):
    """A role and what it allows."""

    role: str
    rights: list[RIGHT]
    description: str | None = None


class Token(BaseModel):
    """A server's token, which no ``repr`` shows."""

    token: str = Field(repr=False)
    token_type: str


class UpdateUserQuery(BaseModel):
    """Names the user a query is about."""

    username: str


class UserCredentials(UpdateUserQuery):
    """A user's name and password; no ``repr`` shows the password."""

    password: str = Field(repr=False)


class Group(BaseModel):
    """A group."""

    name: str
    description: str | None = None


class GroupMembership(BaseModel):
    """A user's place in a group."""

    user: str
    roles: list[str] | None = None


class GroupMembershipQuery(BaseModel):
    """Whom to add to a group, or to take out of it."""

    group_name: str
    members: list[GroupMembership]


class GroupWithMembers(BaseModel):
    """A group and the names of its members."""

    name: str
    description: str | None = None
    members: list[str] = Field(default_factory=list)
