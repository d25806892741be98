"""The catalog answers as `matches()` would over all rows, whatever became of its file."""

import os
import random
import shutil
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tupli_repo.catalog import Catalog, EpisodeRow, Wanted, catalog_path
from tupli_repo.catalog import catalog as catalog_module
from tupli_repo.catalog import segment as segment_module
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

    @property
    def fresh(self) -> dict[str, list[EpisodeRow]]:
        return {"one.journal": self.journal} if self.journal else {}

    def read(self, name: str) -> list[EpisodeRow]:
        self.reads.append(name)
        return self.packs[name]

    def read_set(self, oid: str) -> list[bytes]:
        self.reads.append(oid)
        return [bytes.fromhex(episode) for episode in sorted(self.sets[oid])]

    def rows(self, chosen: BaseFilter | None = None) -> list[EpisodeRow]:
        wanted = Wanted(chosen)
        found = self.catalog.find(list(self.packs), wanted, groups=self.groups, fresh=self.fresh)
        rows = list(found.rows())
        assert len(found) == len(rows)
        assert sorted(found.ids()) == sorted(row.id for row in rows)
        for skip, limit in ((0, 3), (2, None), (len(rows) // 2, 2), (len(rows), 1), (1, 0)):
            stop = None if limit is None else skip + limit
            page = [row.id for row in found.rows(skip=skip, limit=limit)]
            assert page == [row.id for row in rows[skip:stop]]
        return rows

    def found(self, chosen: BaseFilter | None = None) -> list[Shown]:
        return [Shown(row.id, row.published_in) for row in self.rows(chosen)]

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
    return Repository(tmp_path / "cache" / "catalog", some_packs())


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
    repository = Repository(tmp_path / "cache" / "catalog", packs, sets, groups)
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
    path = tmp_path_factory.mktemp("c") / "catalog"
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
    repository = Repository(tmp_path / "c", {"p": rows})
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
    rows = {row.id: row for row in repository.rows()}
    assert rows == {row.id: row for pack in repository.packs.values() for row in pack}


def test_a_pack_is_read_once_also_by_the_next_process(repository: Repository):
    repository.check()
    repository.check(FilterEQ(key="metadata.score", value=3))
    Repository(repository.path, repository.packs).check()
    assert sorted(repository.reads) == ["a", "b", "c"]


def test_large_packs_are_kept_in_parts_and_read_in_blocks(
    published: Repository, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(catalog_module, "MAX_ROWS", 7)
    monkeypatch.setattr(catalog_module, "_FRESH_ROWS", 6)
    monkeypatch.setattr(segment_module, "_BLOCK_ROWS", 3)
    published.check()
    published.check(FilterEQ(key="metadata.score", value=3))
    again = Repository(published.path, published.packs, published.sets, published.groups)
    again.journal = published.journal
    for pack in "abc":
        assert len(list(published.path.glob(f"{pack}.*"))) == 3
    again.check()
    again.journal.append(some_packs(5)["e"][0])
    again.check(FilterEQ(key="n_tuples", value=2))
    assert again.reads == []
    (published.path / "b.1").unlink()  # one part is read anew with the others
    again = Repository(published.path, published.packs, published.sets, published.groups)
    again.check()
    assert again.reads == ["b"]


def test_a_pack_without_episodes_is_read_once(repository: Repository):
    repository.packs["empty"] = []
    repository.check()
    again = Repository(repository.path, repository.packs)
    again.check()
    assert again.reads == []


def test_somebody_is_told_how_far_reading_has_come(repository: Repository):
    told: list[tuple[int, int]] = []
    repository.catalog.on_progress = lambda done, of: told.append((done, of))
    repository.check()
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_what_is_hidden_pending_or_unpublished_is_not_counted(published: Repository):
    hidden = [published.packs["a"][0].id, published.packs["b"][1].id, "no id"]
    packs, fresh = list(published.packs), published.fresh

    def find(wanted: Wanted):
        return published.catalog.find(packs, wanted, groups=published.groups, fresh=fresh)

    every = list(find(Wanted()).rows())
    for is_here in (lambda _: True, lambda oid: oid != "0" * 64, lambda oid: oid != "ab" * 32):
        whole = [r for r in every if all(map(is_here, (r.benchmark_id, *r.missing)))]
        for wanted, expected in (
            (Wanted(is_here=is_here), whole),
            (Wanted(is_here=is_here, pending=True), [r for r in every if r not in whole]),
            (Wanted(is_here=is_here, hidden=hidden), [r for r in whole if r.id not in hidden]),
            (Wanted(is_here=is_here, only_published=True), [r for r in whole if r.published_in]),
        ):
            found = find(wanted)
            assert list(found.rows()) == expected
            tally = found.tally()
            assert tally.episodes == Counter(row.benchmark_id for row in expected)
            assert tally.steps == sum(row.n_tuples for row in expected)
            assert found.count_unpublished() == sum(not row.published_in for row in expected)


def test_ids_that_begin_alike_are_told_apart(published: Repository):
    row = published.packs["a"][0]
    alike = [row._replace(id=f"{row.id[:16]}{n:048x}") for n in range(6)]
    published.packs["a"] += alike
    published.packs["b"].append(alike[3])
    published.sets[ONE] |= {alike[1].id, alike[4].id}
    published.check()
    published.check(FilterEQ(key="published_in", value="global"))
    for one in alike:
        assert published.ids(FilterEQ(key="id", value=one.id)) == [one.id]
    published.check(FilterIN(key="id", value=[one.id for one in alike[::2]]))


def test_texts_of_any_length_and_paths_of_any_number_can_be_asked_for(tmp_path: Path):
    generator = random.Random(1)
    said: list[dict[str, Any]] = [{"x": "y" * 600}, {"x": "z"}, {"p" * 600: 1}]
    said += [{f"k{i}": {"deep": i}} for i in range(600)]
    rows = [row_of(i, one, generator) for i, one in enumerate(said)]
    repository = Repository(tmp_path / "c", {"p": rows})
    assert repository.ids(FilterEQ(key="metadata.x", value="y" * 600)) == [rows[0].id]
    assert repository.ids(FilterEQ(key="metadata." + "p" * 600, value=1)) == [rows[2].id]
    assert repository.ids(FilterEQ(key="metadata.k599.deep", value=599)) == [rows[-1].id]


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
    again = Repository(published.path, published.packs, published.sets, published.groups)
    assert again.catalog.published_in(ids, again.groups) == told
    again.check()
    assert again.reads == []


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
    assert _set_bytes(published.path) == 0


def test_small_sets_replaced_by_larger_ones_leave_a_catalog_of_bounded_size(published: Repository):
    ids = [row.id for row in published.packs["a"]]
    for n in range(1, len(ids) + 1):
        oid = f"{n:064x}"
        published.sets[oid] = set(ids[:n])
        published.groups = {"global": [oid]}
        published.check()
        used = (published.path / f"{oid}.set").stat().st_size
        assert _set_bytes(published.path) <= 2 * used


def _set_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.set"))


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

    wanted = Wanted(is_here=lambda oid: oid != "ab" * 32)
    for pending, expected in ((False, [whole]), (True, [torn])):
        asked = wanted._replace(pending=pending)
        found = published.catalog.find(["a"], asked, groups={}, fresh=published.fresh)
        assert list(found.rows()) == expected


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
    repository = Repository(tmp_path / "c", {"p": [row_of(0, said, generator)]})
    assert len(repository.ids(FilterEQ(key="metadata.k999", value=999))) == 1
    assert repository.ids(FilterEQ(key="metadata.k999", value=998)) == []


def test_arrays_in_metadata_can_be_asked_for(tmp_path: Path):
    generator = random.Random(1)
    said = {"score": np.float32(0.5), "xs": np.array([1, 2])}
    repository = Repository(tmp_path / "c", {"p": [row_of(0, said, generator)]})
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


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _another(path: Path) -> None:
    others = [p for p in sorted(path.parent.iterdir()) if p != path and p.suffix == path.suffix]
    path.write_bytes(others[0].read_bytes() if others else b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [_remove, _empty, _garbage, _cut, _zeros, _another, _folder]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh process", "same process"])
def test_damage_changes_no_answer(
    published: Repository, damage: Callable[[Path], None], fresh: bool
):
    published.check()
    for path in sorted(published.path.iterdir()):
        damage(path)
    again = Repository(published.path, published.packs, published.sets, published.groups)
    after = again if fresh else published
    after.check(FilterEQ(key="published_in", value="lab"))
    after.check(FilterEQ(key="metadata.score", value=2))
    after.packs["d"] = some_packs(4)["d"]
    after.check()


def test_files_that_changed_places_under_a_reader_are_noticed(tmp_path: Path):
    row = row_of(0, {"x": 1}, random.Random(3))
    packs = {f"p{n:02d}": [row._replace(id=f"{n:064x}")] for n in range(10, 60)}
    repository = Repository(tmp_path / "c", packs)
    repository.check()
    alike: dict[tuple[int, bytes], Path] = {}
    changed = 0
    for path in sorted(repository.path.iterdir()):
        data = path.read_bytes()
        other = alike.setdefault((len(data), data[:16]), path)
        if other is not path:
            path.write_bytes(other.read_bytes())
            other.write_bytes(data)
            changed += 1
    assert changed > 5
    repository.check()


def test_a_folder_that_vanished_changes_no_answer(published: Repository):
    published.check()
    shutil.rmtree(published.path)
    published.check(FilterEQ(key="metadata.score", value=2))
    published.check()


def test_damage_that_comes_while_one_goes_through_the_rows_changes_nothing(repository: Repository):
    wanted, packs = Wanted(), list(repository.packs)
    expected = repository.rows()
    for damage in DAMAGES:
        rows = repository.catalog.find(packs, wanted, groups={}, fresh={}).rows()
        begun = [next(rows)]
        for path in sorted(repository.path.iterdir()):
            damage(path)
        assert begun + list(rows) == expected
        shutil.rmtree(repository.path, ignore_errors=True)
        repository = Repository(repository.path, repository.packs)


def test_every_flipped_byte_changes_no_answer(tmp_path: Path):
    packs = some_packs(1, 2)
    sets, groups = {ONE: {packs["a"][0].id}}, {"global": [ONE]}
    repository = Repository(tmp_path / "c", packs, sets, groups)
    repository.check()
    for path in sorted(repository.path.iterdir()):
        whole = path.read_bytes()
        for at in random.Random(2).sample(range(len(whole)), min(len(whole), 60)):
            data = bytearray(whole)
            data[at] ^= 0x41
            path.write_bytes(data)
            Repository(repository.path, packs, sets, groups).check()
            path.write_bytes(whole)


def test_a_cache_that_cannot_be_written_changes_no_answer(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    repository = Repository(tmp_path / "file" / "catalog", some_packs())
    repository.sets, repository.groups = {ONE: {repository.packs["a"][0].id}}, {"global": [ONE]}
    repository.check()
    repository.groups = {}
    repository.check()
    assert repository.reads == ["a", "b", "c", ONE]


def test_copies_of_a_repository_have_catalogs_of_their_own(tmp_path: Path):
    paths = {catalog_path(tmp_path / name, "same id") for name in ("one", "two")}
    assert len(paths) == 2
    assert catalog_path(tmp_path / "one", "other id") not in paths
