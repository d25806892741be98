"""What cleaning a repository reports."""

from pydantic import BaseModel, ConfigDict


class GcReport(BaseModel):
    """What was cleaned, or is to be; sizes in bytes.

    What goes to the trash is not freed yet: superseded packs stay there for a day, what nothing
    leads to for 14.

    Attributes:
        dry_run: Whether nothing was done.
        grace_hours: What was younger stayed.
        unreachable: How many objects nothing leads to, of those older than that.
        unreachable_bytes: About what they take.
        lacking: How much is missing that the names in a bare repository lead to. While that is not
            0, it cannot be told what nothing leads to: packs are merged, and nothing else goes.
        journals_sealed: How many journals became packs, as their writers seem to be dead.
        staging_removed: How many private folders were removed that nobody would have finished.
        packs_merged: How many packs were merged or written anew.
        packs_written: How many packs took their place.
        bytes_written: The size of these.
        files_trashed: How many files went to the trash, the packs that were merged included.
        bytes_trashed: The size of these.
        rescued: How many files came back from the trash, as something leads to them again.
        trash_removed: How many parcels of the trash were old enough to be removed for good.
        bytes_freed: How much less the disk holds by what was removed for good.
        bytes_in_trash: The size of what is in the trash now.
    """

    model_config = ConfigDict(frozen=True)

    dry_run: bool = False
    grace_hours: float
    unreachable: int = 0
    unreachable_bytes: int = 0
    lacking: int = 0
    journals_sealed: int = 0
    staging_removed: int = 0
    packs_merged: int = 0
    packs_written: int = 0
    bytes_written: int = 0
    files_trashed: int = 0
    bytes_trashed: int = 0
    rescued: int = 0
    trash_removed: int = 0
    bytes_freed: int = 0
    bytes_in_trash: int = 0
