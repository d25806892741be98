"""How often a clone reads what it copies."""

from pathlib import Path

from tests.odb.samples import names
from tests.odb.test_sync_whole import CountingFileSystem
from tests.repository.people import benchmark, drive, person, published, record
from tupli_repo.repository import Repository


def test_a_clone_reads_records_twice_and_their_data_once(tmp_path: Path) -> None:
    hub = drive(tmp_path / "drive")
    with person(tmp_path / "ada", hub) as ada:
        record(ada, benchmark(ada), 400)
        ada.publish("walk", episodes=True)
        ada.push()
        all_there_is = published(ada)
    (pack,) = names(tmp_path / "drive", ".pack")
    fs = CountingFileSystem()
    with Repository.clone(hub, tmp_path / "bob", fs=fs) as bob:
        assert published(bob) == all_there_is
    assert fs.times(pack) < 1.7
