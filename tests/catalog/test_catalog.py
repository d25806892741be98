"""The catalog answers as `matches()` would over all rows, whatever became of its file."""

import os
import random
import sqlite3
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tupli_repo.catalog import Catalog, EpisodeRow, catalog_path
from tupli_repo.catalog import database as database_module
from tupli_repo.schema import BaseFilter, FilterAND, FilterEQ, FilterIN, FilterOR, FilterType

KEYS = ["a", "b", "a.b", "", "a.", "%", "ü", "x'y", "*"]
ONE, TWO, THREE = "1a" * 32, "2b" * 32, "3c" * 32
GROUPS = ["global", "lab", "grüße", "'; --"]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**63, 2**70, -(2**90)]),
    st.sampled_from(
        [0.0, -0.0, 1.0, 1.5, float("nan"), float("inf"), float("-inf"), 2.0**53, 1e300]
    ),
    st.sampled_from(
        ["", "a", "b", "true", "1", "Z", "ü", "a\x00b", "\udc80", "'; DROP TABLE packs"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)
metadata = st.dictionaries(st.sampled_from(KEYS), values, max_size=4)
paths = st.one_of(
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(
        lambda p: ".".join(["metadata", *p])
    ),
    st.sampled_from(
        [
            *("id", "benchmark_id", "created_at", "created_by", "n_tuples", "terminated"),
            *("timeout", "seed", "published_in", "metadata", "missing", "nonsense", "metadatax"),
        ]
    ),
)
COMPARISONS = [t for t in FilterType if t not in (FilterType.AND, FilterType.OR, FilterType.IN)]


@st.composite
def comparisons(draw: st.DrawFn) -> BaseFilter:
    key = draw(paths)
    value = draw(
        st.sampled_from([*GROUPS, [GROUPS[0]], "nowhere", "\udc80"])
        if key == "published_in"
        else values.filter(lambda v: v is not None) | st.sampled_from(["ada", "0" * 64, "f" * 64])
    )
    return BaseFilter(type=draw(st.sampled_from(COMPARISONS)), key=key, value=value)


filters = st.recursive(
    comparisons()
    | st.builds(FilterIN, key=paths, value=st.lists(values, max_size=3))
    | st.builds(
        FilterIN,
        key=st.just("published_in"),
        value=st.lists(st.sampled_from([*GROUPS, [GROUPS[0]], 1]), max_size=3),
    ),
    lambda inner: st.one_of(
        st.builds(FilterAND, filters=st.lists(inner, max_size=3)),
        st.builds(FilterOR, filters=st.lists(inner, max_size=3)),
    ),
    max_leaves=5,
)


def row_of(number: int, said: dict[str, Any], generator: random.Random) -> EpisodeRow:
    return EpisodeRow(
        id=f"{generator.getrandbits(256):064x}",
        benchmark_id=generator.choice(["0" * 64, "f" * 64]),
        created_at=f"2026-01-01T00:00:{generator.randrange(3):02d}.000000Z",
        created_by=generator.choice(["ada", "grace", ""]),
        n_tuples=number % 4 + 1,
        terminated=generator.random() < 0.5,
        timeout=generator.random() < 0.5,
        seed=generator.choice([None, 0, 7, 2**64]),
        metadata=said,
        missing=tuple("ab" * 32 for _ in range(number % 2)),
    )


class Shown(NamedTuple):
    """What is looked at of a row that was found."""

    id: str
    published_in: tuple[str, ...]


class Repository:
    """Packs, journals and episode sets in memory, and a catalog of them on the disk.

    Counts what is read.
    """

    def __init__(
        self,
        path: Path,
        packs: dict[str, list[EpisodeRow]],
        sets: dict[str, set[str]] | None = None,
        groups: dict[str, list[str]] | None = None,
    ) -> None:
        self.path = path
        self.packs = packs
        self.sets = sets or {}
        self.groups = groups or {}
        self.journal: list[EpisodeRow] = []
        self.reads: list[str] = []
        self.catalog = Catalog(path, self.read, self.read_set)

    def read(self, name: str) -> list[EpisodeRow]:
        self.reads.append(name)
        return self.packs[name]

    def read_set(self, oid: str) -> list[bytes]:
        self.reads.append(oid)
        return [bytes.fromhex(episode) for episode in sorted(self.sets[oid])]

    def found(self, chosen: BaseFilter | None = None) -> list[Shown]:
        return self.catalog.select(
            list(self.packs),
            chosen,
            lambda row: Shown(row.id, row.published_in),
            groups=self.groups,
            fresh=self.journal,
        )

    def ids(self, chosen: BaseFilter | None = None) -> list[str]:
        return [shown.id for shown in self.found(chosen)]

    def groups_of(self, episode: str) -> tuple[str, ...]:
        return tuple(
            name
            for name, sets in sorted(self.groups.items())
            if any(episode in self.sets[oid] for oid in sets)
        )

    def expected(self, chosen: BaseFilter | None) -> list[Shown]:
        rows = {row.id: row for rows in (*self.packs.values(), self.journal) for row in rows}
        labelled = [row._replace(published_in=self.groups_of(row.id)) for row in rows.values()]
        found = [row for row in labelled if chosen is None or chosen.matches(row.record())]
        found.sort(key=lambda row: (row.created_at, row.id))
        return [Shown(row.id, row.published_in) for row in found]

    def check(self, chosen: BaseFilter | None = None) -> None:
        assert self.found(chosen) == self.expected(chosen)


def some_packs(n_packs: int = 3, n_rows: int = 20) -> dict[str, list[EpisodeRow]]:
    generator = random.Random(5)
    return {
        name: [
            row_of(i, {"score": i % 5, "name": generator.choice(string.ascii_letters)}, generator)
            for i in range(n_rows)
        ]
        for name in string.ascii_lowercase[:n_packs]
    }


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "cache" / "catalog.sqlite", some_packs())


@pytest.fixture
def published(tmp_path: Path) -> Repository:
    """Three packs and a journal; in one group half of one pack and an episode of the journal."""
    packs = some_packs(4)
    journal = packs.pop("d")
    rows = packs["a"]
    sets = {
        ONE: {row.id for row in rows[:10]} | {journal[0].id},
        TWO: {row.id for row in rows[5:15]},
        THREE: {"ff" * 32},
    }
    groups = {"global": [ONE], "lab": [TWO, THREE]}
    repository = Repository(tmp_path / "cache" / "catalog.sqlite", packs, sets, groups)
    repository.journal = journal
    return repository


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    said=st.lists(metadata, max_size=6),
    chosen=filters,
    seed=st.integers(0, 9),
    members=st.lists(st.sets(st.integers(0, 5)), min_size=3, max_size=3),
    groups=st.dictionaries(
        st.sampled_from(GROUPS), st.lists(st.integers(0, 2), unique=True), max_size=3
    ),
)
def test_select_is_what_matches_says(
    tmp_path_factory: pytest.TempPathFactory,
    said: list[dict[str, Any]],
    chosen: BaseFilter,
    seed: int,
    members: list[set[int]],
    groups: dict[str, list[int]],
):
    generator = random.Random(seed)
    rows = [row_of(i, words, generator) for i, words in enumerate(said)]
    path = tmp_path_factory.mktemp("c") / "catalog.sqlite"
    names = [ONE, TWO, THREE]
    sets = {
        name: {rows[i].id for i in some if i < len(rows)}
        for name, some in zip(names, members, strict=True)
    }
    shown = {name: [names[i] for i in some] for name, some in groups.items()}
    repository = Repository(path, {"one": rows[:3], "two": rows[2:5]}, sets, shown)
    repository.journal = rows[4:]
    repository.check(chosen)
    repository.check()
    repository.groups = {}
    repository.check(chosen)


def test_every_comparison_of_every_two_values_is_what_matches_says(tmp_path: Path):
    some = [
        None,
        False,
        True,
        -1,
        0,
        1,
        2**53,
        2**53 + 1,
        2**63,
        0.5,
        1.0,
        float("nan"),
        "",
        "1",
        "b",
    ]
    generator = random.Random(0)
    rows = [row_of(i, {"x": value}, generator) for i, value in enumerate(some)]
    rows += [
        row_of(i, {"x": [value], "y": {"x": value}}, generator) for i, value in enumerate(some)
    ]
    repository = Repository(tmp_path / "c.sqlite", {"p": rows})
    values = [*some[1:], [1], {"x": 1}, 2, 3, "ada", rows[0].created_at]
    for key in ("metadata.x", "metadata.y.x", "seed", "n_tuples", "created_by", "created_at"):
        for kind in COMPARISONS:
            for value in values:
                repository.check(BaseFilter(type=kind, key=key, value=value))
        repository.check(FilterIN(key=key, value=some))
    for row in rows[:3]:
        for key in ("id", "benchmark_id"):
            for value in (row.id, row.benchmark_id, row.id[:7], "no hex"):
                repository.check(FilterEQ(key=key, value=value))


def test_rows_come_back_as_they_were(repository: Repository):
    rows = repository.catalog.select(list(repository.packs), None, lambda row: row, groups={})
    assert {row.id: row for row in rows} == {r.id: r for p in repository.packs.values() for r in p}


def test_a_pack_is_read_once_also_by_the_next_process(repository: Repository):
    repository.check()
    repository.check(FilterEQ(key="metadata.score", value=3))
    Repository(repository.path, repository.packs).check()
    assert sorted(repository.reads) == ["a", "b", "c"]


def test_new_packs_are_added_and_gone_ones_forgotten(repository: Repository):
    repository.check()
    repository.packs["new"] = some_packs(4)["d"] + repository.packs["a"][:5]
    del repository.packs["a"]
    repository.check()
    assert repository.reads == ["a", "b", "c", "new"]
    del repository.packs["new"]
    repository.check()


def test_a_listing_tells_where_each_episode_is_published(published: Repository):
    published.check()
    groups = dict(published.found())
    assert groups[published.packs["a"][0].id] == ("global",)
    assert groups[published.packs["a"][7].id] == ("global", "lab")
    assert groups[published.packs["a"][12].id] == ("lab",)
    assert groups[published.packs["b"][0].id] == ()
    assert groups[published.journal[0].id] == ("global",)


def test_the_groups_of_some_episodes_are_told_without_reading_a_pack(published: Repository):
    ids = [published.packs["a"][7].id, published.packs["b"][0].id, published.journal[0].id]
    told = published.catalog.published_in(ids, published.groups)
    assert list(told.values()) == [("global", "lab"), (), ("global",)]
    assert sorted(published.reads) == [ONE, TWO, THREE]
    assert published.catalog.published_in(ids, {}) == dict.fromkeys(ids, ())
    published.check()


def test_published_in_can_be_asked_for(published: Repository):
    assert len(published.ids(FilterEQ(key="published_in", value="global"))) == 11
    assert len(published.ids(FilterIN(key="published_in", value=["lab", "x"]))) == 10
    for kind in COMPARISONS:
        for value in ("global", "lab", "nowhere", ["global"], ["global", "lab"], 1):
            published.check(BaseFilter(type=kind, key="published_in", value=value))
    published.check(FilterIN(key="published_in", value=["lab", ["global"], 1]))


def test_a_set_is_read_once_also_by_the_next_process(published: Repository):
    published.check()
    published.groups = {"global": [ONE, TWO], "other": [THREE]}
    published.check()
    again = Repository(published.path, published.packs, published.sets, published.groups)
    again.check()
    assert sorted(published.reads) == [ONE, TWO, THREE, "a", "b", "c"]
    assert again.reads == []


def test_what_is_published_no_more_is_forgotten_and_may_come_back(published: Repository):
    published.check()
    for groups in ({}, {"global": [TWO]}, {}, {"lab": [ONE, THREE]}):
        published.groups = groups
        published.check()
        published.check(FilterEQ(key="published_in", value="global"))
    published.groups = {}
    published.check()
    with sqlite3.connect(published.path) as database:
        (left,) = database.execute("SELECT count(*) FROM members").fetchone()
    database.close()
    assert left == 0


def test_small_sets_replaced_by_larger_ones_leave_a_catalog_of_bounded_size(published: Repository):
    ids = [row.id for row in published.packs["a"]]
    for n in range(1, len(ids) + 1):
        oid = f"{n:064x}"
        published.sets[oid] = set(ids[:n])
        published.groups = {"global": [oid]}
        published.check()
        with sqlite3.connect(published.path) as database:
            (rows,) = database.execute("SELECT count(*) FROM members").fetchone()
        database.close()
        assert rows <= 2 * n


def test_packs_that_come_later_are_known_to_be_published(published: Repository):
    late = some_packs(5)["e"]
    published.sets["4d" * 32] = {row.id for row in late[:3]}
    published.groups["late"] = ["4d" * 32]
    published.check()
    published.packs["e"] = late
    published.check(FilterEQ(key="published_in", value="late"))
    del published.packs["e"]
    published.journal += late
    published.check()


def test_an_episode_in_a_pack_and_a_journal_is_listed_once(published: Repository):
    published.journal += published.packs["a"][:4]
    published.check()


def test_an_episode_that_one_file_does_not_hold_whole_is_made_of_the_other(published: Repository):
    whole = published.packs["a"][0]._replace(missing=())
    torn = whole._replace(missing=("ab" * 32,))
    published.packs, published.journal = {"a": [torn]}, [whole]

    def make(row: EpisodeRow) -> str | None:
        return None if row.missing else row.id

    found = published.catalog.select(["a"], None, make, groups={}, fresh=published.journal)
    assert found == [whole.id]


def test_a_set_that_cannot_be_read_is_an_error_and_changes_nothing(published: Repository):
    published.check()
    published.groups["global"] = ["9" * 64]
    for _ in range(2):
        with pytest.raises(KeyError):
            published.found()
    published.groups["global"] = [ONE]
    published.check()


def test_a_large_metadata_is_found_by_any_of_its_keys(tmp_path: Path):
    generator = random.Random(1)
    said = {f"k{i}": i for i in range(1000)}
    repository = Repository(tmp_path / "c.sqlite", {"p": [row_of(0, said, generator)]})
    assert len(repository.ids(FilterEQ(key="metadata.k999", value=999))) == 1
    assert repository.ids(FilterEQ(key="metadata.k999", value=998)) == []


def test_arrays_in_metadata_can_be_asked_for(tmp_path: Path):
    generator = random.Random(1)
    said = {"score": np.float32(0.5), "xs": np.array([1, 2])}
    repository = Repository(tmp_path / "c.sqlite", {"p": [row_of(0, said, generator)]})
    assert len(repository.ids(FilterEQ(key="metadata.score", value=0.5))) == 1
    assert len(repository.ids(FilterEQ(key="metadata.xs", value=[1, 2]))) == 1


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _remove_seal(path: Path) -> None:
    path.with_suffix(".seal").unlink()


def _forge_seal(path: Path) -> None:
    path.with_suffix(".seal").write_bytes(b"\xff\xfe")


def _other_version(path: Path) -> None:
    seal = path.with_suffix(".seal")
    seal.write_text("0 " + seal.read_text().partition(" ")[2])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _drop_members(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM members")
    database.close()


def _drop_rows(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM episodes WHERE n_tuples > 1")
    database.close()


DAMAGES = [
    _remove,
    _empty,
    _garbage,
    _cut,
    _remove_seal,
    _forge_seal,
    _other_version,
    _folder,
    _drop_rows,
    _drop_members,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh process", "same process"])
def test_damage_changes_no_answer(
    published: Repository, damage: Callable[[Path], None], fresh: bool
):
    published.check()
    damage(published.path)
    again = Repository(published.path, published.packs, published.sets, published.groups)
    after = again if fresh else published
    after.check(FilterEQ(key="published_in", value="lab"))
    after.check(FilterEQ(key="metadata.score", value=2))
    after.packs["d"] = some_packs(4)["d"]
    after.check()


def test_every_flipped_byte_changes_no_answer(tmp_path: Path):
    packs = some_packs(1, 2)
    sets, groups = {ONE: {packs["a"][0].id}}, {"global": [ONE]}
    repository = Repository(tmp_path / "c.sqlite", packs, sets, groups)
    repository.check()
    size = repository.path.stat().st_size
    for at in random.Random(2).sample(range(size), 60):
        data = bytearray(repository.path.read_bytes())
        data[at] ^= 0x41
        repository.path.write_bytes(data)
        Repository(repository.path, packs, sets, groups).check()


def test_a_row_that_was_changed_is_noticed_even_under_a_right_seal(repository: Repository):
    repository.check()
    with sqlite3.connect(repository.path) as database:
        database.execute("UPDATE episodes SET n_tuples = 99")
    database.close()
    repository.path.with_suffix(".seal").write_text(repository.catalog._seal_text())
    repository.check()


def test_a_locked_database_changes_no_answer(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database_module, "_BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(database_module, "LOCK_TIMEOUT_S", 0.05)
    repository.check()
    other = sqlite3.connect(repository.path)
    other.execute("BEGIN EXCLUSIVE")
    repository.packs["d"] = some_packs(4)["d"]
    repository.check()
    other.close()
    with FileLock(repository.path.with_suffix(".lock")):
        Repository(repository.path, repository.packs).check()


def test_a_cache_that_cannot_be_written_changes_no_answer(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    repository = Repository(tmp_path / "file" / "catalog.sqlite", some_packs())
    repository.sets, repository.groups = {ONE: {repository.packs["a"][0].id}}, {"global": [ONE]}
    repository.check()
    repository.groups = {}
    repository.check()


def test_copies_of_a_repository_have_catalogs_of_their_own(tmp_path: Path):
    paths = {catalog_path(tmp_path / name, "same id") for name in ("one", "two")}
    assert len(paths) == 2
    assert catalog_path(tmp_path / "one", "other id") not in paths
