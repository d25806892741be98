"""What measures the layouts of the format: each of them gives back what was stored, or says so."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.episodes import Episodes
from tests.benchmarks.layouts import MEASURES, Measuring, alternatives, main, measure, table
from tests.benchmarks.layouts_forms import Layout
from tests.benchmarks.layouts_packs import Pack
from tests.benchmarks.workloads import smooth

SMALL = Layout(block_bytes=4 << 10, piece_bytes=1 << 10, shared_below=2 << 10)


@pytest.fixture(scope="module")
def frames() -> Episodes:
    """Episodes of unequal lengths: frames of which some need pieces, float32 and float64."""
    lengths = np.array([30, 30, 1, 7, 30, 30])
    n_steps, rng = int(lengths.sum()), np.random.default_rng(0)
    columns = {
        "observations": rng.integers(0, 256, (n_steps + len(lengths), 30, 30), np.uint8),
        "actions": rng.normal(size=(n_steps, 2)).astype(np.float32),
        "rewards": rng.normal(size=n_steps),
        "terminated": np.zeros(n_steps, bool),
        "truncated": np.ones(n_steps, bool),
    }
    return Episodes(lengths, columns)


def test_the_table_has_each_alternative_and_each_gives_back_the_bits(
    tmp_path: Path, frames: Episodes
):
    found, wrong = measure(frames, column="actions", folder=tmp_path, repeat=1, min_s=0)
    assert wrong == {}
    names = list(alternatives({"f4", "f8", "u1"}))
    assert list(found) == names
    assert all(set(numbers) >= set(MEASURES) for numbers in found.values())
    rows = [line.split("|")[1].strip() for line in table(found).splitlines()]
    assert rows == ["layout", "---", *names]


@pytest.mark.parametrize(
    "layout",
    [
        SMALL,
        Layout(block_bytes=1 << 20, piece_bytes=8 << 10, shared_below=0, threads=2),
        Layout(block_bytes=1 << 20, piece_bytes=8 << 10, shared_below=0, grouped=True),
    ],
)
@pytest.mark.parametrize("form", ["rows", "planes", "bytes", "bytes-first", "words", "delta"])
def test_pieces_in_each_form_give_back_the_bits(
    tmp_path: Path, frames: Episodes, layout: Layout, form: str
):
    changed = Layout(
        block_bytes=layout.block_bytes,
        piece_bytes=layout.piece_bytes,
        shared_below=layout.shared_below,
        grouped=layout.grouped,
        threads=layout.threads,
        f4=form,
        f8=form,
        u1=form,
    )
    measuring = Measuring(frames, column="rewards", folder=tmp_path)
    pack, _ = measuring.write("one", changed)
    assert measuring.wrong(pack) == ""
    pack.close()


def test_a_bit_that_is_read_otherwise_is_told(tmp_path: Path, frames: Episodes):
    columns = {name: column.copy() for name, column in frames.columns.items()}
    columns["actions"][-1] = -columns["actions"][-1]
    other = Pack(Episodes(frames.lengths, columns), SMALL, tmp_path / "other.pack")
    measuring = Measuring(frames, column="rewards", folder=tmp_path)
    assert "'actions' differs" in measuring.wrong(other)
    other.close()


@pytest.mark.parametrize("verify", ["sha", "crc", "zstd"])
def test_a_damaged_pack_is_noticed(tmp_path: Path, frames: Episodes, verify: str):
    file = tmp_path / "one.pack"
    pack = Pack(frames, Layout(verify=verify), file)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)
    measuring = Measuring(frames, column="rewards", folder=tmp_path)
    with pytest.raises(Exception, match=r"checksum|decompress|error|corrupt"):
        measuring.wrong(pack)
    pack.close()


def test_each_way_of_verifying_checks_what_it_says(tmp_path: Path, frames: Episodes):
    def read(verify: str, *, spoil: str) -> None:
        pack = Pack(frames, Layout(verify=verify), tmp_path / "one.pack")
        if spoil == "id":
            pack._ids[0] = bytes(32)
        else:
            pack._blocks[0] = pack._blocks[0]._replace(crc=0)
        rewards = {"rewards": np.empty(frames.n_steps)}
        pack.load(np.arange(len(frames)), rewards)
        assert rewards["rewards"].tobytes() == frames.columns["rewards"].tobytes()
        pack.close()

    read("crc", spoil="id")
    read("zstd", spoil="crc")
    with pytest.raises(ValueError, match="another"):
        read("sha", spoil="id")
    with pytest.raises(ValueError, match="checksum"):
        read("crc", spoil="crc")


def test_smaller_blocks_and_other_forms_take_more_room(tmp_path: Path):
    episodes = smooth(30, 200, 17, 6, "f4")(1.0)

    def size(layout: Layout) -> int:
        return Pack(episodes, layout, tmp_path / "one.pack").n_bytes

    base = size(Layout())
    for other in (Layout(block_bytes=32 << 10), Layout(f4="rows"), Layout(shared_below=0)):
        assert size(other) > base
    assert size(Layout(level=6)) < base


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    asked = ["--workload", "pendulum", "--scale", "0.008", "--quick"]
    results = tmp_path / "layouts.json"
    assert main([*asked, "--folder", str(tmp_path), "--json", str(results)]) == 0
    assert "## pendulum: 4 episodes" in capsys.readouterr().out
    assert '"transitions"' in results.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["layouts.json"]
