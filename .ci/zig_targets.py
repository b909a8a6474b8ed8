"""Compiles the core for other systems and processors by zig's clang, warnings being errors, and links a program.

    python .ci/zig_targets.py FOLDER [TARGET ...]

Prints a table. The optimiser is only asked for little, since warnings hardly depend on it. Exit code 1 if one fails.
"""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = dict(re.findall(r"^(\w+) = (.*)$", (ROOT / "csrc/core.mk").read_text(), re.M))
SOURCES = sorted(path for pattern in CORE["CORE_SOURCES"].split() for path in (ROOT / "csrc").glob(pattern))
FLAGS = [*CORE["CORE_FLAGS"].replace("-O3", "-O1").split(), *CORE["CORE_WARNINGS"].split(), "-g0"]
TARGETS = {  # the flags of their threads
    **dict.fromkeys(
        ["x86_64-linux-gnu", "x86_64-linux-musl", "aarch64-linux-gnu", "aarch64-linux-musl", "riscv64-linux-gnu",
         "riscv64-linux-musl", "arm-linux-gnueabihf", "x86_64-macos", "aarch64-macos", "x86_64-windows-gnu",
         "aarch64-windows-gnu"],
        CORE["PTHREADS"].split(),
    ),
    "wasm32-wasi": [],
}


def zig(*arguments):
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def build(target, folder):
    """What went wrong, or ""."""
    flags = ["-target", target, *FLAGS, *TARGETS[target]]
    folder.mkdir(parents=True)
    sources = [*SOURCES, ROOT / "tests/c/golden.c"]
    jobs = {folder / f"{source.parent.name}_{source.stem}.o": source for source in sources}
    alone = {folder / "all.o": ROOT / "csrc/mlpfast_all.c"}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        flags_of_c = [*flags, "-I", ROOT / "csrc", "-c"]
        made = list(pool.map(lambda job: zig("cc", *flags_of_c, "-o", *job), [*jobs.items(), *alone.items()]))
    problems = [result.stderr for result in made if result.returncode]
    if not problems:
        linked = zig("cc", *flags, "-o", folder / "golden", *jobs, *([] if "windows" in target else ["-lm"]))
        problems = [linked.stderr] if linked.returncode else []
    return "".join(problems)


def main(folder, *targets):
    failed = False
    version = zig("cc", "--version").stdout.splitlines()[0]
    print(f"{version}, {len(SOURCES)} files each, {' '.join(CORE['CORE_WARNINGS'].split())}")
    for target in targets or TARGETS:
        begin = time.perf_counter()
        problems = build(target, Path(folder, target))
        outcome = "FAILED" if problems else "no warnings, links"
        print(f"{target:22}{outcome}  {time.perf_counter() - begin:.0f} s", flush=True)
        if problems:
            print(problems[:2000])
        failed |= bool(problems)
    return failed


sys.exit(main(*sys.argv[1:]))
