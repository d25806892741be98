"""Grants: per user, per repository and place, and never from inside a repository."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from tests.faults import FailingFileSystem, full_disk
from tupli_repo import grants as grants_module
from tupli_repo.codec.trust import NameKind
from tupli_repo.config import user_settings_file
from tupli_repo.errors import (
    InvalidInputError,
    LockedError,
    NotFoundError,
    StorageIOError,
    UntrustedCodeError,
)
from tupli_repo.grants import MAX_DOCUMENTS, MAX_NAMES, Grants
from tupli_repo.odb.files import FileStatus, FileSystem
from tupli_repo.repository import Repository

PROJECT = Path(__file__).parents[1]
WINDY = "my_envs.windy.WindyEnv"


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration folder, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = user_settings_file().path.parent
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.init(tmp_path / "project") as made:
        yield made


def grants_of(repository: Repository) -> Grants:
    return Grants(repository.root, repository.format.id)


def grants_in(folder: Path) -> Grants:
    """Those of whatever repository is there now."""
    with Repository(folder) as found:
        return grants_of(found)


def file_of(config: Path) -> Path:
    (found,) = (config / "trust").glob("*.json")
    return found


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def output(process: "subprocess.Popen[str]") -> str:
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return told


def test_at_first_nothing_is_granted_and_nothing_written(repository, config):
    grants = grants_of(repository)
    assert (grants.names, grants.documents) == ((), frozenset())
    assert not grants.policy().grants(WINDY, NameKind.ENV)
    assert list(config.iterdir()) == []


def test_a_grant_lives_on_in_other_processes(repository):
    assert repository.trust([WINDY, "other.*", WINDY]) == [WINDY, "other.*"]
    repository.trust_document(sha(1))
    told = start(
        """
        import sys
        from tupli_repo import Repository
        repository = Repository(sys.argv[1])
        policy = repository.trust_policy()
        print(*repository.trusted(), policy.trusts_document(sys.argv[2]))
        """,
        repository.root.parent,
        sha(1),
    )
    assert output(told).split() == [WINDY, "other.*", "True"]


def test_granting_again_tells_only_what_is_new(repository):
    assert repository.trust([WINDY]) == [WINDY]
    assert repository.trust(["b.*", WINDY]) == ["b.*"]
    assert repository.trust([]) == []
    assert repository.trusted() == ("b.*", WINDY)


def test_the_policy_holds_grants_documents_and_the_names_of_the_call(repository):
    repository.trust(["other.*"])
    repository.trust_document(sha(1))
    policy = repository.trust_policy(name for name in [WINDY])
    assert policy.names == (WINDY, "other.*")
    assert policy.allows("any.thing.Odd", NameKind.OBJECT, document=sha(1))
    assert not policy.allows("any.thing.Odd", NameKind.OBJECT, document=sha(2))
    assert repository.trust_policy().names == ("other.*",)
    assert repository.trusted() == ("other.*",)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["no-name"], "not a name to trust"),
        (["numpy.*"], "too wide"),
        (["os.system"], "never be trusted"),
        (["tupli_repo.*"], "never be trusted"),
        (WINDY, "a list of names"),
    ],
)
def test_names_that_cannot_be_granted_are_refused_and_none_is_granted(
    repository, config, names, words
):
    wanted = names if isinstance(names, str) else [WINDY, *names]
    for verb in (repository.trust, repository.distrust, repository.trust_policy):
        with pytest.raises(InvalidInputError, match=words):
            verb(wanted)
    assert repository.trusted() == ()
    assert list(config.iterdir()) == []


def test_a_revoked_name_counts_no_more(repository):
    repository.trust([WINDY, "other.*", "third.Env"])
    repository.trust_document(sha(1))
    assert repository.distrust(["other.*", WINDY, WINDY]) == ["other.*", WINDY]
    assert repository.trusted() == ("third.Env",)
    assert not repository.trust_policy().allows(WINDY, NameKind.ENV)
    assert grants_of(repository).documents == {sha(1)}


def test_revoking_with_one_unknown_name_changes_nothing(repository):
    repository.trust([WINDY])
    with pytest.raises(NotFoundError, match=r"'other\.\*' is not granted") as caught:
        repository.distrust([WINDY, "other.*"])
    assert "tupli trust --list" in caught.value.hint
    assert repository.trusted() == (WINDY,)


def test_a_copy_of_the_project_inherits_nothing(repository, tmp_path):
    repository.trust([WINDY])
    repository.trust_document(sha(1))
    shutil.copytree(tmp_path / "project", tmp_path / "copy")
    copied = grants_in(tmp_path / "copy")
    assert (copied.names, copied.documents) == ((), frozenset())
    assert copied.grant(["other.*"]) == ["other.*"]
    assert repository.trusted() == (WINDY,)


def test_a_moved_project_inherits_nothing_until_it_is_moved_back(repository, tmp_path):
    repository.trust([WINDY])
    repository.close()
    os.rename(tmp_path / "project", tmp_path / "elsewhere")
    assert grants_in(tmp_path / "elsewhere").names == ()
    os.rename(tmp_path / "elsewhere", tmp_path / "project")
    assert grants_in(tmp_path / "project").names == (WINDY,)


def test_a_copy_put_in_the_place_of_the_original_inherits_nothing(repository, tmp_path):
    repository.trust([WINDY])
    repository.close()
    shutil.copytree(tmp_path / "project", tmp_path / "copy")
    os.rename(tmp_path / "project", tmp_path / "original")
    os.rename(tmp_path / "copy", tmp_path / "project")
    assert grants_in(tmp_path / "project").names == ()


def test_another_repository_at_the_same_path_inherits_nothing(repository, tmp_path):
    repository.trust([WINDY])
    repository.close()
    os.rename(tmp_path / "project", tmp_path / "original")
    with Repository.init(tmp_path / "project") as other:
        assert other.trusted() == ()


def test_another_id_in_the_same_format_file_inherits_nothing(repository):
    grants_of(repository).grant([WINDY])
    assert Grants(repository.root, "another-id").names == ()


@pytest.mark.parametrize("change", ["same bytes and times", "new time"])
def test_a_replaced_format_file_ends_the_grants_at_once(repository, change):
    repository.trust([WINDY])
    file = repository.root / "format.json"
    before = file.stat()
    if change == "new time":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    else:
        shutil.copy2(file, file.with_name("new"))
        os.utime(file.with_name("new"), ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(file.with_name("new"), file)
        assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert repository.trusted() == ()
    assert repository.trust_policy().names == ()


class NoInodes(FileSystem):
    """A file system that numbers no files."""

    def status(self, path: Path) -> FileStatus:
        return replace(super().status(path), inode=0)


def test_without_inodes_a_replaced_format_file_is_noticed_by_its_own_time(repository):
    grants = Grants(repository.root, repository.format.id, fs=NoInodes())
    assert grants.grant([WINDY]) == [WINDY]
    assert list(grants.names) == [WINDY]
    file = repository.root / "format.json"
    before = file.stat()
    shutil.copy2(file, file.with_name("new"))
    os.replace(file.with_name("new"), file)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert list(grants.names) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_another_way_to_the_same_repository_finds_the_same_grants(repository, tmp_path):
    repository.trust([WINDY])
    (tmp_path / "link").symlink_to(tmp_path / "project")
    assert Grants(tmp_path / "link" / ".tupli", repository.format.id).names == (WINDY,)


def test_another_user_has_granted_nothing(repository, tmp_path, monkeypatch):
    repository.trust([WINDY])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    assert repository.trusted() == ()
    repository.trust(["other.*"])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert repository.trusted() == (WINDY,)


def test_nothing_inside_a_repository_grants(repository, config):
    root = repository.root
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    repository.trust([WINDY])
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    shutil.copytree(config / "trust", root / "trust")
    repository.distrust([WINDY])
    (root / "config.toml").write_text(f'[trust]\nnames = "{WINDY}"\n')
    assert grants_of(repository).names == ()
    with pytest.raises(InvalidInputError, match=r"'trust\.names', which is not a setting"):
        Repository(root)


def test_a_configuration_folder_inside_the_repository_is_refused(repository, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(repository.root / "staging"))
    for ask in (repository.trusted, repository.trust_policy, lambda: repository.trust([WINDY])):
        with pytest.raises(InvalidInputError, match="lies inside the repository"):
            ask()
    assert list((repository.root / "staging").iterdir()) == []


def test_eight_processes_add_documents_and_grants_and_lose_none(repository):
    program = """
        import hashlib, sys
        from tupli_repo import Repository
        repository, me = Repository(sys.argv[1]), sys.argv[2]
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(12):
            repository.trust_document(hashlib.sha256(f"{me}.{n}".encode()).hexdigest())
        repository.trust([f"envs.of{me}.Env"])
    """
    running = [start(program, repository.root.parent, number) for number in range(8)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        output(process)
    found = grants_of(repository)
    assert found.documents == {sha(f"{me}.{n}") for me in range(8) for n in range(12)}
    assert found.names == tuple(f"envs.of{me}.Env" for me in range(8))


def test_a_known_document_writes_nothing(repository, config):
    repository.trust_document(sha(1))
    before = file_of(config).stat()
    with FileLock(file_of(config).with_suffix(".lock")):  # it does not even wait
        repository.trust_document(sha(1))
    after = file_of(config).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_oldest_documents_go_first(repository, config):
    repository.trust_document(sha("old"))
    file = file_of(config)
    tree = json.loads(file.read_text())
    tree["documents"] += [sha(n) for n in range(MAX_DOCUMENTS - 1)]
    file.write_text(json.dumps(tree))
    repository.trust_document(sha("new"))
    found = json.loads(file.read_text())["documents"]
    assert (len(found), found[0], found[-1]) == (MAX_DOCUMENTS, sha(0), sha("new"))


def test_too_many_names_are_refused(repository):
    repository.trust([f"envs.Env{n}" for n in range(MAX_NAMES)])
    with pytest.raises(InvalidInputError, match="would hold more than"):
        repository.trust(["one.More"])
    assert len(repository.trusted()) == MAX_NAMES


@pytest.mark.parametrize("text", ["", "abc", sha(1).upper(), sha(1)[:-1]])
def test_what_is_no_sha256_is_refused(repository, config, text):
    with pytest.raises(InvalidInputError, match="is not the SHA-256"):
        repository.trust_document(text)
    assert list(config.iterdir()) == []


def test_the_file_tells_a_reader_whose_it_is(repository, config):
    repository.trust([WINDY])
    tree = json.loads(file_of(config).read_text())
    assert tree["repository"]["path"] == str(repository.root)
    assert tree["repository"]["id"] == repository.format.id
    assert tree["names"] == [WINDY]


def test_a_file_of_another_repository_under_this_name_is_an_error(repository, config, tmp_path):
    with Repository.init(tmp_path / "other") as other:
        other.trust(["other.*"])
        theirs = file_of(config)
        theirs.rename(config / "kept")
    repository.trust([WINDY])
    shutil.copy(config / "kept", file_of(config))
    with pytest.raises(InvalidInputError, match="was written for another repository"):
        repository.trust_policy()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "\xff",
        "[" * 100_000,
        '{"format": "tupli.grants/9"}',
        ("names", WINDY),
        ("names", [1]),
        ("names", ["os.system"]),
        ("names", ["x"]),
        ("documents", ["abc"]),
        ("documents", None),
        ("more", 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_malformed_file_is_an_error_that_names_it_and_is_left_alone(repository, config, text):
    repository.trust(["other.*"])
    file = file_of(config)
    if isinstance(text, str):
        file.write_text(text, encoding="latin-1")
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | dict([text])))
    before = file.read_bytes()
    for ask in (
        repository.trusted,
        repository.trust_policy,
        lambda: repository.trust([WINDY]),
        lambda: repository.distrust(["other.*"]),
    ):
        with pytest.raises(InvalidInputError) as caught:
            ask()
        assert str(file) in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.hint == "mend the file or remove it"
    with pytest.warns(UserWarning, match="must be trusted by name"):
        repository.trust_document(sha(1))
    assert file.read_bytes() == before


def test_where_nothing_can_be_written_granting_fails_and_storing_warns_once(repository, config):
    (config / "trust").write_text("a file where the folder should be")
    for ask in (repository.trusted, repository.trust_policy, lambda: repository.trust([WINDY])):
        with pytest.raises(StorageIOError, match="trust"):
            ask()
    with pytest.warns(UserWarning, match="must be trusted by name"):
        repository.trust_document(sha(1))
    repository.trust_document(sha(2))


def test_a_full_disk_leaves_the_grants_as_they_were(repository, config):
    grants_of(repository).grant([WINDY])
    for step in range(1, 5):
        failing = FailingFileSystem(step, full_disk(), lasting=True)
        grants = Grants(repository.root, repository.format.id, fs=failing)
        with pytest.raises(StorageIOError):
            grants.grant([f"other{step}.*"])
        with pytest.warns(UserWarning, match="no space left"):
            grants.add_document(sha(step))
    found = grants_of(repository)
    assert (found.names, found.documents) == ((WINDY,), frozenset())
    assert len(list((config / "trust").iterdir())) == 2  # the file and its lock


def test_somebody_who_keeps_the_lock_stops_a_grant_but_no_store(repository, config, monkeypatch):
    monkeypatch.setattr(grants_module, "_LOCK_TIMEOUT_S", 0.05)
    repository.trust([WINDY])
    with FileLock(file_of(config).with_suffix(".lock")):
        with pytest.raises(LockedError, match="kept"):
            repository.trust(["other.*"])
        with pytest.warns(UserWarning, match="must be trusted by name"):
            repository.trust_document(sha(1))
        assert repository.trusted() == (WINDY,)
    repository.trust_document(sha(1))
    assert grants_of(repository).documents == {sha(1)}


def test_where_locks_do_not_work_it_goes_on(repository, config):
    repository.trust([WINDY])
    lock = file_of(config).with_suffix(".lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    assert repository.trust(["other.*"]) == ["other.*"]
    repository.trust_document(sha(1))
    assert repository.trusted() == (WINDY, "other.*")


@pytest.mark.parametrize("inside", ["", "objects", "packs/../refs", "not/there/yet.zip"])
def test_no_policy_while_python_imports_from_inside_the_repository(repository, monkeypatch, inside):
    monkeypatch.setattr(sys, "path", [*sys.path, str(repository.root / inside)])
    with pytest.raises(UntrustedCodeError, match="lies inside the repository") as caught:
        repository.trust_policy([WINDY])
    assert "sys.path" in caught.value.hint


def test_the_working_folder_counts_where_python_imports_from_it(repository, monkeypatch):
    monkeypatch.chdir(repository.root / "objects")
    repository.trust_policy()
    for entry in ("", ".", "aa"):
        monkeypatch.setattr(sys, "path", [entry])
        with pytest.raises(UntrustedCodeError):
            repository.trust_policy()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_into_the_repository_counts(repository, tmp_path, monkeypatch):
    (tmp_path / "innocent").symlink_to(repository.root / "packs")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "innocent")])
    with pytest.raises(UntrustedCodeError):
        repository.trust_policy()


def test_the_project_and_what_is_not_there_may_be_imported_from(repository, tmp_path, monkeypatch):
    project = repository.root.parent
    odd = [str(project), str(project / "src"), "/not/there", "a\0b", str(project / ".tupli2")]
    if sys.platform != "win32":
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        odd.append(str(tmp_path / "loop"))
    monkeypatch.setattr(sys, "path", odd)
    assert repository.trust_policy([WINDY]).names == (WINDY,)
