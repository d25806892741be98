"""What can be wrong with a bundle; each case makes a file of an honest drive."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.hostile.cases import Case, Outcome
from tests.hostile.crafting import GIB, TIB, Hub
from tests.odb.samples import overwrite
from tupli_repo.odb.bundle import write_bundle

BUNDLES: dict[str, Case] = {}
_MEMBER = "objects/ab/" + "c" * 62
_Make = Callable[[Path, Hub], None]


def bundle(sentence: str, then: Outcome, *, is_slow: bool = False) -> Callable[[_Make], _Make]:
    """Note a case; what it makes is called with an honest bundle."""

    def note(spoil: _Make) -> _Make:
        def make(hub: Hub) -> None:
            path = hub.folder.parent / "some.bundle"
            write_bundle(hub.files, path)
            path.chmod(0o644)
            hub.remote = path
            spoil(path, hub)

        BUNDLES[sentence] = Case(make, then, is_slow)
        return spoil

    return note


def _add(path: Path, name: str, data: bytes, **fields: object) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    for field, value in fields.items():
        setattr(info, field, value)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, data)


@bundle("members outside of it", "passed")
def _(path: Path, _: Hub) -> None:
    for name in ("../evil", "/etc/evil", "C:/evil", ".tupli/../evil", ".tupli//etc/passwd", "\\x"):
        _add(path, name, b"x")


@bundle("a member that is a link", "passed")
def _(path: Path, _: Hub) -> None:
    _add(path, ".tupli/objects/link", b"/etc/passwd", external_attr=0o120777 << 16)


@bundle("a member that is a bomb", "told")
def _(path: Path, _: Hub) -> None:
    _add(path, f".tupli/{_MEMBER}", bytes(64 << 20), compress_type=zipfile.ZIP_DEFLATED)


@bundle("two files of one name", "told")
def _(path: Path, _: Hub) -> None:
    import warnings

    for _n in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _add(path, f".tupli/{_MEMBER}", b"x")


@bundle("a size that lies", "told")
def _(path: Path, _: Hub) -> None:
    data = path.read_bytes()
    name = data.rindex(b".pack")  # in the directory, which comes last
    at = data.rindex(b"PK\x01\x02", 0, name) + 20
    overwrite(path, data[:at] + struct.pack("<II", 1 << 30, 1 << 30) + data[at + 8 :])


@bundle("a place that lies", "told")
def _(path: Path, _: Hub) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    while (found := data.find(b"PK\x01\x02", at)) >= 0:
        data[found + 42 : found + 46] = struct.pack("<I", 7)
        at = found + 4
    overwrite(path, bytes(data))


@bundle("nothing but its first bytes", "told")
def _(path: Path, _: Hub) -> None:
    overwrite(path, path.read_bytes()[:100])


@bundle("a tebibyte of nothing behind them", "told")
def _(path: Path, hub: Hub) -> None:
    hub.sparse(path, TIB, begin=path.read_bytes())


@bundle("a directory of a gibibyte", "told")
def _(path: Path, hub: Hub) -> None:
    size = GIB
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, size, 4, 0)
    hub.sparse(path, 4 + size + len(end), begin=b"PK\x03\x04", end=end)


@bundle("a directory of 250000 files", "told", is_slow=True)
def _(path: Path, _: Hub) -> None:
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 4) + bytes(16) + b"abcd"
    n = 250_000
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 9, 9, n * len(entry), 4, 0)
    overwrite(path, b"PK\x03\x04" + entry * n + end)


@bundle("a comment that holds another one", "either")
def _(path: Path, _: Hub) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = path.read_bytes()[-60_000:]


@bundle("a pipe in its place", "told")
def _(path: Path, _: Hub) -> None:
    path.unlink()
    os.mkfifo(path)
