"""Programs in processes of their own, each as a user would start it."""

import subprocess
import sys
import textwrap
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a program; indented as a whole, it may stand in a test."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: "subprocess.Popen[str]", *, timeout_s: float = 300) -> str:
    """What a process printed, once it has ended well; none outlives its time."""
    try:
        told, errors = process.communicate(timeout=timeout_s)
    finally:
        process.kill()  # nothing, where it has ended
    assert process.returncode == 0, errors
    return told
