"""The bodies of benchmarks, artifacts, provenance, annotations, tombstones and releases.

Bodies of benchmarks and artifacts hold no time and no user: the same thing has the same id in every
lab. Who and when is provenance, an object of its own that names its subject.

Invariant: a body that parses has every field its reader relies on, of its type.
"""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tupli_repo.codec.values import dump_json, load_json
from tupli_repo.errors import CorruptObjectError

_Time = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$")
_Hex64 = Field(pattern=r"^[0-9a-f]{64}$")


class Body(BaseModel):
    """A body in canonical JSON; what is empty is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def dump(self) -> bytes:
        """Return the body's bytes.

        Raises:
            EncodingError: It holds something that cannot be stored; the message names it.
        """
        kept = {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if getattr(self, name) != field.default
        }
        return dump_json(kept, name=type(self).__name__.removesuffix("Body").lower())


class BenchmarkBody(Body):
    """A benchmark: its metadata, the hash it was handed in with, and what its environment is.

    Attributes:
        env_format: The format of the environment document; ``opaque`` where it is not ours.
        wrapper: The wrapper class whose hooks made it; empty for `TupliEnvWrapper` itself.
        n_artifacts: How many of its links, the last ones, are artifacts.
        evaluation: Which of these is the document of an environment to evaluate in; empty where
            there is none.
    """

    name: str
    description: str = ""
    difficulty: str | None = None
    version: str | None = None
    extra: dict[str, Any] = {}
    hash: str
    env_format: str
    wrapper: str = ""
    n_artifacts: int = 0
    evaluation: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class ArtifactBody(Body):
    """An artifact: its metadata, the SHA-256 of the whole file, and its size in bytes."""

    name: str
    description: str = ""
    benchmark_id: str | None = None
    extra: dict[str, Any] = {}
    hash: str = _Hex64
    encoding: str = "utf-8"
    size: int


class ProvenanceBody(Body):
    """Who stored a benchmark or artifact, when, and on what.

    Attributes:
        packages: The version of each package that the environment's classes come from.
        sources: SHA-256 of the source file of each module they come from.
    """

    subject: str = _Hex64
    created_by: str
    created_at: str
    python: str = ""
    platform: str = ""
    packages: dict[str, str] = {}
    sources: dict[str, str] = {}


class AnnotationBody(Body):
    """What is said of episodes after they were recorded.

    It names them in its body and not as links: it needs none of them.

    Attributes:
        subjects: The ids of the episodes, sorted.
        metadata: What is said of each; null takes back what an earlier annotation said.
    """

    subjects: list[Annotated[str, _Hex64]]
    metadata: dict[str, Any]
    created_by: str
    created_at: str = _Time


class TombstoneBody(Body):
    """What is hidden here, or which tombstones are revoked. It stays in this repository.

    Attributes:
        repository: The id of the repository it speaks for; in any other it says nothing.
    """

    repository: str
    hides: list[str] = []
    revokes: list[str] = []
    why: str = ""
    created_by: str
    created_at: str
    nonce: str


class ReleaseBody(Body):
    """What is published under a name at one moment; the things themselves are its links.

    The links are, in this order: benchmarks, provenance, artifacts, episode sets, and where
    episodes are taken back one blob of their raw ids.

    Attributes:
        name: The name as it is shown.
        group: The group it is published in.
        kind: What is published: ``benchmark``, ``dataset`` or ``artifact``.
        version: The benchmark's version.
        created_by: Who published it; empty for a union that was made without anybody.
        n_episodes: How many episodes its sets hold.
        n_withdrawn: How many episodes it takes back.
        is_retracted: Whether it takes back the whole: benchmark, dataset or artifact.
        digest: SHA-256 of the raw ids of its episodes, sorted.
    """

    name: str
    group: str
    kind: str
    version: str | None = None
    message: str = ""
    licence: str = ""
    citation: str = ""
    created_by: str = ""
    created_at: str
    n_benchmarks: int = Field(default=0, ge=0)
    n_provenance: int = Field(default=0, ge=0)
    n_artifacts: int = Field(default=0, ge=0)
    n_episodes: int = Field(default=0, ge=0)
    n_withdrawn: int = Field(default=0, ge=0)
    is_retracted: bool = False
    digest: str = _Hex64


_BodyT = TypeVar("_BodyT", bound=Body)


def parse_body(model: type[_BodyT], body: bytes) -> _BodyT:
    """Return the parsed body of an object.

    Raises:
        CorruptObjectError: It is not of that model; the caller knows the object.
    """
    fields = load_json(body)
    try:
        return model.model_validate(fields)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise CorruptObjectError(f"a record's '{where}' is malformed") from None
