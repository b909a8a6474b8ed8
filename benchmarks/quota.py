"""A control group with a CPU quota, where the system lets this process make one."""

import os
from contextlib import contextmanager
from pathlib import Path

PERIOD = 100_000  # us, the default of the kernel


class Unavailable(Exception):
    """The message says why no group can be made."""


def possible_groups(processors):
    """(folder where a control group can be created, {file: contents for that quota}, the folder of its processes now):
    below this process's group, or below an ancestor."""
    groups = Path("/proc/self/cgroup")
    quota = str(int(processors * PERIOD))
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            files = {"cpu.max": f"{quota} {PERIOD}"}
        elif "cpu" in controllers.split(","):
            files = {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": quota}
        else:
            continue
        top = Path("/sys/fs/cgroup", controllers)
        own = top / path.lstrip("/")
        for folder in [own, *own.parents]:
            if folder.is_relative_to(top):
                yield folder / f"mlpfast-{os.getpid()}", files, own


@contextmanager
def group(processors):
    """Yields (folder of a new group with a quota of that many processors, folder of this process's group)."""
    said = []
    for folder, files, own in possible_groups(processors):
        try:
            folder.mkdir()
            for name, text in files.items():
                with open(folder / name, "r+") as file:  # which must be there already
                    file.write(text)
        except OSError as error:
            said.append(str(error))
            if folder.is_dir():
                folder.rmdir()
            continue
        try:
            yield folder, own
        finally:
            folder.rmdir()
        return
    reason = "; ".join(said) or "no hierarchy has the CPU"
    raise Unavailable(f"no control group with a CPU quota can be made: {reason}")


def enter(folder):
    (folder / "cgroup.procs").write_text("0")  # this process


@contextmanager
def quota(processors):
    """This process with that quota."""
    with group(processors) as (folder, own):
        enter(folder)
        try:
            yield
        finally:
            enter(own)
