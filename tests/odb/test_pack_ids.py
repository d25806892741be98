"""The ids of packs, kept in a file: they tell what a directory tells, or are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tupli_repo.odb.pack_ids import PackIds, dump_ids

PACK, SIZE = bytes(range(32)), 12_345
ENDS = st.binary(min_size=24, max_size=24)
# many begin alike
IDS = st.sets(st.builds(lambda n, end: bytes([n]) * 8 + end, st.integers(0, 3), ENDS), max_size=40)


def kept(folder: Path, ids: set[bytes]) -> PackIds:
    path = folder / "some.oids"
    path.unlink(missing_ok=True)
    path.write_bytes(dump_ids(ids, PACK, SIZE))
    return PackIds(path, PACK, SIZE)


@given(inside=IDS, others=IDS)
def test_they_tell_what_a_set_of_them_tells(tmp_path_factory, inside, others):
    found = kept(tmp_path_factory.mktemp("ids"), inside)
    asked = inside | others
    assert found.among(asked) == inside
    assert found.among(others) == inside & others
    assert {one for one in asked if one in found} == inside
    assert found.among(set()) == set()


def test_an_id_that_differs_in_its_last_byte_is_another(tmp_path: Path):
    one, other = b"a" * 31 + b"x", b"a" * 31 + b"y"
    found = kept(tmp_path, {one})
    assert found.among({one, other}) == {one}
    assert other not in found


def test_each_byte_that_changed_and_each_cut_is_noticed(tmp_path: Path):
    path, ids = tmp_path / "some.oids", {bytes([n]) * 32 for n in range(3)}
    whole = dump_ids(ids, PACK, SIZE)
    for at in range(len(whole)):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            path.write_bytes(data)
            with pytest.raises((ValueError, OSError)):
                PackIds(path, PACK, SIZE)


def test_those_of_another_pack_are_refused(tmp_path: Path):
    path = tmp_path / "some.oids"
    path.write_bytes(dump_ids({PACK}, PACK, SIZE))
    for pack, size in ((bytes(32), SIZE), (PACK, SIZE + 1)):
        with pytest.raises(ValueError, match="another pack"):
            PackIds(path, pack, size)
