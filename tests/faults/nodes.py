"""What a disk in memory is made of, and the changes that are noted of it."""

from typing import NamedTuple


class Node:
    """A file or folder, under however many names.

    Attributes:
        names: What is in a folder; None for a file.
        data: The bytes of a file.
        n_links: Under how many names a file is.
    """

    __slots__ = ("ctime_ns", "data", "inode", "mode", "mtime_ns", "n_links", "names")

    def __init__(self, inode: int, mode: int, now_ns: int, *, is_folder: bool) -> None:
        self.inode = inode
        self.mode = mode
        self.mtime_ns = self.ctime_ns = now_ns
        self.names: dict[str, Node] | None = {} if is_folder else None
        self.data = bytearray()
        self.n_links = 1

    def like(self, data: bytes | bytearray | None = None) -> "Node":
        """Return another node with the same inode, times and bytes, and no names in it."""
        other = Node(self.inode, self.mode, 0, is_folder=self.names is not None)
        other.mtime_ns, other.ctime_ns = self.mtime_ns, self.ctime_ns
        other.data = bytearray(self.data if data is None else data)
        other.n_links = self.n_links
        return other


class Entry(NamedTuple):
    """A name in a folder came to be, or went.

    Attributes:
        folder: The folder's inode.
        name: The name in it.
        node: What it names.
        is_there: Whether it came to be.
    """

    folder: int
    name: str
    node: Node
    is_there: bool


class Naming(NamedTuple):
    """What one primitive did to the names of the disk; a rename in one folder is one change."""

    path: str
    entries: tuple[Entry, ...]


class Writing(NamedTuple):
    """Bytes of a file; ``data`` replaces what was there from ``offset`` on."""

    path: str
    inode: int
    offset: int
    data: bytes


class FileSync(NamedTuple):
    """The bytes of a file are on the disk itself."""

    inode: int


class FolderSync(NamedTuple):
    """The names in a folder are on the disk itself."""

    inode: int


Change = Naming | Writing | FileSync | FolderSync
