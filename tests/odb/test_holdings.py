"""Where the members of sets lie: found once, and again when a file has gone."""

from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

from tupli_repo.catalog import SetNotes
from tupli_repo.odb.holdings import Holdings

SET = "5" * 64
MANY = frozenset(n.to_bytes(32, "big") for n in range(3000))


class Ids:
    def __init__(self, ids: Collection[bytes], asked: list[int]) -> None:
        self.ids = set(ids)
        self._asked = asked

    def among(self, raw_ids: set[bytes]) -> set[bytes]:
        self._asked.append(len(raw_ids))
        return self.ids & raw_ids


class Place:
    """A repository in memory that counts what it is asked."""

    def __init__(self, **files: Collection[bytes]) -> None:
        self.asked: list[int] = []
        self.loose: set[bytes] = set()
        self.files = {name: Ids(ids, self.asked) for name, ids in files.items()}

    def holders(self) -> dict[str, Ids]:
        return self.files

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        left = set(raw_ids) - self.loose
        self.asked.append(len(left))
        for file in self.files.values():
            left -= file.ids
        return left

    def n_asked(self) -> int:
        """How many ids were looked for since this was last asked."""
        n = sum(self.asked)
        self.asked.clear()
        return n


def some(start: int, stop: int) -> set[bytes]:
    return {n.to_bytes(32, "big") for n in range(start, stop)}


def members() -> frozenset[bytes]:
    return MANY


def nobody() -> frozenset[bytes]:
    raise AssertionError("the members are known to be there")


def test_members_are_looked_for_once(tmp_path: Path):
    place = Place(a=some(0, 2000), b=some(1990, 3000), c=some(0, 0))
    holdings = Holdings(place, SetNotes(tmp_path))
    assert holdings.missing(SET, members) == set()
    assert place.n_asked() >= len(MANY)
    assert holdings.missing(SET, nobody) == set()
    assert Holdings(place, SetNotes(tmp_path)).missing(SET, nobody) == set()
    assert place.n_asked() == 0


def test_what_is_in_no_file_is_looked_for_each_time(tmp_path: Path):
    place = Place(a=some(10, 3000))
    for holdings in (Holdings(place, SetNotes(tmp_path)), Holdings(place, SetNotes(tmp_path))):
        assert holdings.missing(SET, members) == some(0, 10)
        place.loose = some(0, 4)
        assert holdings.missing(SET, nobody) == some(4, 10)
        place.loose = set()
    place.files["b"] = Ids(some(0, 10), place.asked)
    assert Holdings(place, SetNotes(tmp_path)).missing(SET, nobody) == set()


@pytest.mark.parametrize("is_new", [False, True])
def test_what_was_in_a_file_that_has_gone_is_looked_for_again(tmp_path: Path, is_new: bool):
    place = Place(a=some(0, 2000), b=some(1990, 3000))
    holdings = Holdings(place, SetNotes(tmp_path))
    assert holdings.missing(SET, members) == set()
    del place.files["b"]
    holdings = Holdings(place, SetNotes(tmp_path)) if is_new else holdings
    assert holdings.missing(SET, members) == some(2000, 3000)
    place.files["other"] = Ids(some(2000, 3000), place.asked)
    assert holdings.missing(SET, members) == set()


def test_files_that_have_nothing_of_it_may_go(tmp_path: Path):
    place = Place(x=some(5000, 6000), a=MANY)
    assert Holdings(place, SetNotes(tmp_path)).missing(SET, members) == set()
    del place.files["x"]
    assert Holdings(place, SetNotes(tmp_path)).missing(SET, nobody) == set()


def test_each_byte_of_a_note_that_changed_is_noticed(tmp_path: Path):
    place = Place(a=MANY)
    Holdings(place, SetNotes(tmp_path)).missing(SET, members)
    (note,) = tmp_path.iterdir()
    whole = note.read_bytes()
    for at in range(len(whole)):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            note.write_bytes(data)
            asked = place.n_asked()
            assert Holdings(place, SetNotes(tmp_path)).missing(SET, members) == set()
            asked = place.n_asked()
            assert asked == len(MANY), "what is in no note has to be looked for"


def test_a_note_of_another_set_is_none(tmp_path: Path):
    place = Place(a=MANY)
    Holdings(place, SetNotes(tmp_path)).missing(SET, members)
    (note,) = tmp_path.iterdir()
    note.rename(tmp_path / note.name.replace("5", "6"))
    place.files["a"].ids = set()
    assert Holdings(place, SetNotes(tmp_path)).missing("6" * 64, members) == MANY


def test_what_lies_in_a_journal_or_is_small_is_not_noted(tmp_path: Path):
    place = Place(**{"1234.journal": MANY})
    assert Holdings(place, SetNotes(tmp_path)).missing(SET, members) == set()
    small = Place(a=MANY)
    assert (
        Holdings(small, SetNotes(tmp_path), at_least=11).missing(SET, lambda: some(0, 10)) == set()
    )
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_noted_is_looked_for(tmp_path: Path):
    (tmp_path / "file").write_text("")
    place = Place(a=MANY)
    for _ in range(2):
        assert Holdings(place, SetNotes(tmp_path / "file")).missing(SET, members) == set()
        assert place.n_asked() == len(MANY)
