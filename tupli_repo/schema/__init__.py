"""The words of the public API: models of what is stored, filters that select it.

Invariant: importing this package loads pydantic and nothing heavier.

- `items`: benchmarks, artifacts, episodes, tuples
- `filters`: conditions on their headers, with ``matches()``
- `accounts`: PyTupli's users, groups and roles, kept so that old imports work
- `display`: how they are shown in a line and in a notebook
- `plain`: how values become plain and how two of them compare; filters rest on it
"""

from tupli_repo.schema.accounts import (
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
from tupli_repo.schema.filters import (
    BaseFilter,
    EpisodesListRequest,
    FilterAND,
    FilterEQ,
    FilterGEQ,
    FilterGT,
    FilterIN,
    FilterLEQ,
    FilterLT,
    FilterNE,
    FilterOR,
    FilterType,
)
from tupli_repo.schema.items import (
    ArtifactMetadata,
    ArtifactMetadataItem,
    Benchmark,
    BenchmarkHeader,
    BenchmarkMetadata,
    BenchmarkQuery,
    DBItem,
    Episode,
    EpisodeHeader,
    EpisodeItem,
    EpisodeMetadataCallback,
    RLTuple,
    utc_now,
)

__all__ = [
    "DEFAULT_ROLE",
    "RESOURCE_TYPE",
    "RIGHT",
    "RIGHT_BUNDLE_CONTENT_CREATE",
    "RIGHT_BUNDLE_CONTENT_DELETE",
    "RIGHT_BUNDLE_CONTENT_READ",
    "ArtifactMetadata",
    "ArtifactMetadataItem",
    "BaseFilter",
    "Benchmark",
    "BenchmarkHeader",
    "BenchmarkMetadata",
    "BenchmarkQuery",
    "DBItem",
    "Episode",
    "EpisodeHeader",
    "EpisodeItem",
    "EpisodeMetadataCallback",
    "EpisodesListRequest",
    "FilterAND",
    "FilterEQ",
    "FilterGEQ",
    "FilterGT",
    "FilterIN",
    "FilterLEQ",
    "FilterLT",
    "FilterNE",
    "FilterOR",
    "FilterType",
    "Group",
    "GroupMembership",
    "GroupMembershipQuery",
    "GroupWithMembers",
    "Membership",
    "RLTuple",
    "Token",
    "UpdateUserQuery",
    "User",
    "UserCredentials",
    "UserOut",
    "UserRole",
    "utc_now",
]
