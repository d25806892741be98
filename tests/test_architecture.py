"""The house keeps its shape: sizes, floors' rules, light imports, and a README that is true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tupli_repo

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "tupli_repo").rglob("*.py"))
MAX_LINES = 500


def _loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after some code."""
    program = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_not_too_long_and_says_what_it_is_for(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert text.startswith(('"""', 'r"""'))


def test_only_one_module_changes_the_disk():
    changing = re.compile(
        r"\bos\.(open|write|replace|rename|unlink|remove|mkdir|makedirs|rmdir|link|fsync)\("
        r"|\.(write_bytes|write_text|unlink|mkdir|rmdir|touch)\("
    )
    guilty = [
        path.name
        for path in MODULES
        if changing.search(path.read_text(encoding="utf-8"))
        and path.parts[-2:] not in (("odb", "files.py"), ("odb", "filesystem.py"))
        and path.relative_to(ROOT).parts[1] not in ("cli", "interop", "catalog")  # user's; cache
    ]
    assert guilty == []


def test_only_the_environment_codec_touches_jsonpickle():
    users = [path for path in MODULES if re.search(r"(import|from) jsonpickle", path.read_text())]
    assert {path.relative_to(ROOT).parts[1:3] for path in users} == {("codec", "env")}


def test_no_module_imports_the_house_inside_a_function():
    inside = re.compile(r"^[ \t]+(from tupli_repo|import tupli_repo)", re.MULTILINE)
    docstrings = re.compile(r'"""(?:.|\n)*?"""')
    guilty = [p.name for p in MODULES if inside.search(docstrings.sub("", p.read_text()))]
    assert guilty == []


def test_importing_the_package_loads_neither_torch_nor_pandas():
    everything = "; ".join(f"tupli_repo.{name}" for name in tupli_repo.__all__)
    loaded = _loaded_by(f"import tupli_repo; {everything}")
    assert "numpy" in loaded
    assert not loaded & {"torch", "pandas", "tensorflow"}


def test_help_loads_neither_numpy_nor_gymnasium():
    loaded = _loaded_by("from tupli_repo.cli import run; assert run(['--help']) == 0")
    assert "click" in loaded
    assert not loaded & {"numpy", "gymnasium", "pandas", "torch"}


def test_the_public_names_are_there_and_have_types():
    stub = (ROOT / "tupli_repo" / "__init__.pyi").read_text()
    typed = set(re.findall(r" as (\w+)$", stub, re.MULTILINE)) | {"__version__"}
    assert typed == set(tupli_repo.__all__)
    assert all(getattr(tupli_repo, name) is not None for name in tupli_repo.__all__)
    assert set(tupli_repo.__all__) <= set(dir(tupli_repo))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tupli_repo.nonsense  # type: ignore[attr-defined]


def test_the_readme_has_the_two_commands_as_they_are_run():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/tupli demo" in lines
    assert "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest" in lines


def test_the_readme_is_true(tmp_path: Path):
    """Its Python blocks run one after the other, in a folder where ``tupli init`` was run."""
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    program = "\n".join(blocks) + (
        "\nassert dataset.columns()['observations'].shape == (2010, 3)"
        "\nassert batch['next_observations'].shape == (2000, 3)"
        "\nassert again.unwrapped is not env.unwrapped"
    )
    (tmp_path / "program.py").write_text(program)
    subprocess.run([sys.executable, "-m", "tupli_repo", "init"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, check=True)


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "tupli_repo", "--help"], capture_output=True, text=True, check=True
    )
    commands = re.findall(r"^  (\w+)  ", done.stdout.split("Commands:")[1], re.MULTILINE)
    assert len(commands) >= 7
    assert [name for name in commands if f"tupli {name}" not in readme] == []
