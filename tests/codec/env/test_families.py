"""The families: one document whatever was done before, and the loaded one runs to the bit alike.

What is small runs everywhere; the rest where its packages are. ``tests.codec.env.table`` runs all.
"""

import warnings

import pytest

from tests.codec.env import families
from tests.codec.env.table import COLUMNS, examine, hashes_elsewhere
from tupli_repo.codec.env import encode

SMALL = ["stacks", "classic-control", "toy-text"]
LARGE = {
    "box2d": ["LunarLander-v3"],
    "mujoco": ["Hopper-v5", "InvertedPendulum-v5"],
    "minigrid": ["MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToRedBall-v0"],
}


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, str]:
    return hashes_elsewhere(list(families.environments(SMALL)), SMALL, hash_seed="77")


@pytest.mark.parametrize("name", families.environments(SMALL))
def test_it_has_one_document_and_comes_back(name, elsewhere):
    assert_all_is_well(name, families.environments(SMALL)[name], elsewhere[name])


@pytest.mark.parametrize(("family", "name"), [(f, name) for f in LARGE for name in LARGE[f]])
def test_one_of_a_larger_family_has_one_document_and_comes_back(family, name):
    pytest.importorskip(families.PACKAGES[family])
    if family == "mujoco":
        pytest.importorskip("imageio")
    other = hashes_elsewhere([name], [family], hash_seed="1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these packages warn about each other
        assert_all_is_well(name, families.environments([family])[name], other[name])


def assert_all_is_well(name, make, hash_elsewhere):
    found = examine(name, make, steps=100)
    found["process"] = found["sha256"] == hash_elsewhere
    wrong = [f"{name} is not the same: {COLUMNS[c]}" for c in COLUMNS if found[c] is False]
    assert wrong == []


def test_no_two_environments_share_a_document():
    names = {make: name for name, make in families.environments(SMALL).items()}
    by_hash: dict[str, str] = {}
    for make, name in names.items():
        assert by_hash.setdefault(encode(make()).sha256, name) == name


def test_no_generator_and_no_record_of_it_is_in_a_document():
    for name, make in families.environments(["stacks", "classic-control"]).items():
        env = make()
        env.reset(seed=123456789)
        text = encode(env).text
        assert "_np_random" not in text, name
        assert "123456789" not in text, name
