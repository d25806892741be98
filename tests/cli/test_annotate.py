"""``tupli annotate`` as a user types it."""

from pathlib import Path

import pytest

from tests.cli.calling import Tupli
from tests.repository.people import benchmark, person, record


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The episodes of a project that is the working folder."""
    with person(tmp_path / "project") as ada:
        found = record(ada, benchmark(ada), 3)
    monkeypatch.chdir(tmp_path / "project")
    return found


def listed(tupli: Tupli, condition: str) -> list[str]:
    return [one["id"] for one in tupli("list", "episodes", "--where", condition, "--json").json]


def test_ids_and_words_in_any_order(tupli: Tupli, ids: list[str]):
    done = tupli("annotate", ids[0][:9], "success=true", ids[1], "by=Ada L.", "n=[1, 2]")
    assert (done.status, done.out) == (0, "annotated 2 episodes\n")
    assert listed(tupli, "metadata.success = true") == ids[:2]
    assert tupli("show", ids[0], "--json").json["metadata"] == {
        "by": "Ada L.",
        "n": [1, 2],
        "success": True,
    }


def test_a_condition_chooses_and_unset_takes_back(tupli: Tupli, ids: list[str]):
    done = tupli("annotate", "--where", "metadata.n >= 1", "late=yes", "n=9", "--json")
    assert done.json == {"episodes": sorted(ids[1:]), "metadata": {"late": "yes", "n": 9}}
    assert listed(tupli, "metadata.n = 9") == ids[1:]
    assert tupli("annotate", ids[2], "--unset", "n").status == 0
    assert listed(tupli, "metadata.n = 9") == ids[1:2]
    assert listed(tupli, "metadata.n = 2") == ids[2:]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["success=true"], "no episode is named"),
        (["{id}"], "nothing is said"),
        (["{id}", "=true"], "'=true' has no key"),
        (["{id}", "a=True"], "the value of 'a=True' is not JSON"),
        (["{id}", "a=[1"], "the value of 'a=[1' is not JSON"),
        (["{id}", "a=null"], "null cannot be said of 'a'"),
        (["{id}", "a=1", "--unset", "a"], "'a' is both set and unset"),
        (["{id}", "--where", "n_tuples > 1", "a=1"], "ids and --where are both given"),
        (["--where", "x.y = 1", "a=1"], "'x.y' is not a key"),
        (["walk", "a=1"], "'walk' is not an id"),
    ],
)
def test_what_is_not_clear_is_told(tupli: Tupli, ids: list[str], arguments: list[str], says: str):
    done = tupli("annotate", *(one.format(id=ids[0]) for one in arguments))
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 2
    assert "metadata" not in tupli("show", ids[0]).out or '"a"' not in tupli("show", ids[0]).out


def test_an_unknown_id_says_nothing_of_any(tupli: Tupli, ids: list[str]):
    assert tupli("annotate", ids[0], "0" * 9, "a=1").status == 1
    assert listed(tupli, "metadata.a = 1") == []
