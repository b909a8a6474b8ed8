"""Programs of the tests that need a process of their own."""

import subprocess
import sys
import textwrap
from pathlib import Path

# Not the source folder, from which Python would import mlpfast before the installed one.
FOLDER = Path(__file__).parent


def run_python(program, *arguments, env=None, timeout=120):
    """What `python -c program` prints, with its arguments and in the environment env (None: that of the tests).

    :raises AssertionError: with what it wrote to stderr, if it fails.
    """
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, env=env, cwd=FOLDER, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout
