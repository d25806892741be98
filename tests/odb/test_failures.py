"""What the operating system's refusals become: errors with something to do."""

import errno
import os
from pathlib import Path

import pytest

from tupli_repo.errors import StorageIOError
from tupli_repo.odb.failures import disk_errors

TO_DO = ("check", "free", "mount", "raise")
TOLD = ("ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EMFILE")


@pytest.mark.parametrize("name", TOLD)
def test_a_hint_says_what_to_do_and_not_once_more_what_is_wrong(name: str):
    code = getattr(errno, name)
    with pytest.raises(StorageIOError) as told, disk_errors("write to", Path("here")):
        raise OSError(code, os.strerror(code))
    reason = os.strerror(code).lower()
    assert told.value.message == f"cannot write to 'here': {reason}"
    assert told.value.hint.split()[0] in TO_DO
    assert reason not in told.value.hint


def test_a_refusal_that_has_no_hint_is_told_with_its_file():
    with pytest.raises(StorageIOError) as told, disk_errors("read", Path("there")):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert told.value.message.startswith("cannot read 'there': ")
    assert told.value.hint == ""
