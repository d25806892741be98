"""Revisions as people write them lead to one thing, or tell why not."""

from pathlib import Path
from typing import Any

import pytest

from tests.repository.labs import WALK, Lab, episode
from tupli_repo.errors import AmbiguousNameError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind
from tupli_repo.odb.refs import RefName
from tupli_repo.repository.published.publishing import Offer
from tupli_repo.repository.published.revisions import Revisions, parse_revision, ref_name_of


class Named(Lab):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.revisions = Revisions(self.releases)

    def found(self, text: str) -> str:
        self.releases.refresh()
        return self.revisions.find(text).hash

    def version(self, version: str) -> str:
        """Publish the benchmark again, under another version."""
        heads = self.releases.heads(WALK)
        offer = Offer(title="one", version=version, benchmarks=heads[0].benchmarks, message=version)
        return self.publisher.publish(WALK, offer, user="ada").view.hash


@pytest.fixture
def lab(tmp_path: Path) -> Named:
    return Named(tmp_path / "a")


def test_a_revision_is_found_by_name_generation_version_and_hash(lab: Named) -> None:
    first = lab.publish([episode(1)])
    second, third, fourth = lab.version("1.2"), lab.version("v2"), lab.version("1.2")
    for text, expected in {
        "one": fourth,
        "global/one": fourth,
        "global/benchmark/one": fourth,
        "one@1": first,
        "one@2": second,
        "one@v2": third,
        "one@v1.2": fourth,
        f"one@{first}": first,
        f"global/one@{second[:7]}": second,
        third: third,
        third[:9]: third,
    }.items():
        assert lab.found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("two", "lab/one", "global/dataset/one", "one@7", "one@v3", "one@", "one@abc", "one@x/y"),
        *("one@" + "0" * 64, "0" * 64, "../one", "", "@", "/", "one@1@1", "a/b/c/d", "one@²"),
        *("one@01", "one@\u0661"),
    ],
)
def test_what_is_not_there_is_told(lab: Named, text: str) -> None:
    lab.publish([episode(1)])
    with pytest.raises(NotFoundError, match="there is no revision"):
        lab.found(text)


def test_a_name_in_several_groups_is_ambiguous(lab: Named) -> None:
    first = lab.publish([episode(1)])
    other = lab.publish([episode(1)], RefName("lab", "benchmark", "one"))
    lab.publish([episode(1)], RefName("lab", "dataset", "one"))
    with pytest.raises(AmbiguousNameError) as told:
        lab.found("one")
    assert f"'global/benchmark/one@{first[:12]}'" in told.value.message
    assert lab.found("global/one") == first
    assert lab.found(f"one@{other[:12]}") == other
    assert lab.found("lab/benchmark/one") == other
    with pytest.raises(AmbiguousNameError):
        lab.found("lab/one")


def test_two_heads_are_ambiguous_and_so_is_their_generation(tmp_path: Path) -> None:
    lab, other = Named(tmp_path / "a"), Lab(tmp_path / "b")
    ids = {lab.publish([episode(1)]), other.publish([episode(2)])}
    lab.receive(other)
    for text in ("one", "one@1"):
        with pytest.raises(AmbiguousNameError) as told:
            lab.found(text)
        assert all(one[:12] in told.value.message for one in ids)
    lab.publisher.unite(WALK)
    assert lab.found("one") == lab.found("one@2")


def test_a_yanked_revision_is_found_by_hash_and_generation_only(lab: Named) -> None:
    first = lab.publish([episode(1)])
    second = lab.version("2")
    lab.publisher.yank(lab.releases.views(WALK)[second], user="eve")
    assert lab.found("one") == first
    assert lab.found(f"one@{second[:12]}") == lab.found("one@2") == second
    lab.publisher.yank(lab.releases.views(WALK)[first], user="eve")
    with pytest.raises(NotFoundError, match="no revision of 'one' is here whole"):
        lab.found("one")


def test_a_revision_is_of_a_benchmark_or_an_artifact(lab: Named) -> None:
    lab.publish([episode(1)])
    (head,) = lab.releases.heads(WALK)
    assert lab.revisions.object_of("one@1", Kind.BENCHMARK) == head.benchmarks[0]
    assert lab.revisions.object_of("two", Kind.BENCHMARK) is None
    with pytest.raises(InvalidInputError, match="is a benchmark, and one artifact is asked for"):
        lab.revisions.object_of("one", Kind.ARTIFACT)
    with pytest.raises(InvalidInputError, match="one episode"):
        lab.revisions.object_of("one", Kind.EPISODE)
    with pytest.raises(NotFoundError):
        lab.revisions.object_of("one@9", Kind.BENCHMARK)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", (None, None, "a", None)),
        ("g/a@1", ("g", None, "a", "1")),
        ("g/k/a", ("g", "k", "a", None)),
        ("a@v1/2", (None, None, "a", "v1/2")),
    ],
)
def test_a_revision_has_parts(text: str, parts: Any) -> None:
    assert tuple(parse_revision(text)) == parts


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Pendulum", "pendulum"),
        ("Windy Mountain Car (v2)", "windy-mountain-car-v2"),
        ("Übung Nº 5", "ubung-no-5"),
        ("a//b", "a-b"),
        ("..a..", "a"),
        ("CartPole_v1.0", "cartpole_v1.0"),
    ],
)
def test_a_title_becomes_a_name(title: str, name: str) -> None:
    assert ref_name_of(title) == name
    assert ref_name_of(name) == name


@pytest.mark.parametrize("title", ["", "日本", "...", "con", "x" * 65, "a..b"])
def test_a_title_of_which_nothing_is_left_asks_for_a_name(title: str) -> None:
    with pytest.raises(InvalidInputError) as told:
        ref_name_of(title)
    assert "--as" in told.value.hint
