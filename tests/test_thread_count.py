"""The number of threads of a call is limited by OMP_NUM_THREADS, the affinity mask and a container's CPU quota."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlpfast

COUNT = """
import json, os, sys
if len(sys.argv) > 1:
    os.sched_setaffinity(0, {int(sys.argv[1])})
import numpy as np
import mlpfast
net, before = mlpfast.Network([256, 512, 512, 10], seed=0), len(os.listdir("/proc/self/task"))
X = np.ones((500, 256), np.float32)
mlpfast.Trainer(net, "half_squared_error", seed=0).fit(X, np.ones((500, 10)))
net.predict(X)
config = mlpfast.show_config("dicts")
new = len(os.listdir("/proc/self/task")) - before  # helpers, and the one that made them, which sleeps
print(json.dumps([config["processors"], config["threads"], max(new, 1)]))
"""


def counts(*arguments, **variables):
    """In a new process: (processors, maximum number of threads, number of threads used)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MLPFAST_OVERSUBSCRIBE"))}
    elsewhere = Path(__file__).parent  # not the source folder, where mlpfast may not be built
    run = subprocess.run([sys.executable, "-c", COUNT, *map(str, arguments)], env={**env, **variables}, check=True,
                         capture_output=True, text=True, timeout=120, cwd=elsewhere)
    return tuple(json.loads(run.stdout))


linux_with_threads = pytest.mark.skipif(
    not (sys.platform == "linux" and mlpfast.show_config("dicts")["openmp"]), reason="counts threads in /proc")


@linux_with_threads
def test_by_itself_a_call_takes_the_processors_there_are():
    processors, most, used = counts()
    assert 1 <= processors <= len(os.sched_getaffinity(0))
    assert most == processors and used == min(processors, 126)  # 126: the work of these 500 rows pays for no more


@linux_with_threads
def test_an_affinity_mask_is_kept():
    assert counts(min(os.sched_getaffinity(0))) == (1, 1, 1)


@linux_with_threads
def test_omp_num_threads_is_kept_up_to_the_processors():
    processors = counts()[0]
    assert counts(OMP_NUM_THREADS="1") == (processors, 1, 1)
    assert counts(OMP_NUM_THREADS=str(processors + 3)) == (processors,) * 3


def possible_groups():
    """(folder where a control group can be created, {file: contents for a quota of one processor}): below this
    process's group, or below an ancestor."""
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # cgroup version 2
            files = {"cpu.max": "100000 100000"}
        elif "cpu" in controllers.split(","):
            files = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}
        else:
            continue
        top = Path("/sys/fs/cgroup", controllers)
        own = top / path.lstrip("/")
        for folder in [own, *own.parents]:
            if folder.is_relative_to(top):
                yield folder / f"mlpfast-test-{os.getpid()}", files


@pytest.fixture
def group_of_one_processor():
    said = []
    for group, files in possible_groups():
        try:
            group.mkdir()
            for name, text in files.items():
                with open(group / name, "r+") as file:  # "r+": the file must exist already
                    file.write(text)
        except OSError as error:
            said.append(str(error))
            if group.is_dir():
                group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no control group with a CPU quota can be made: " + ("; ".join(said) or "no hierarchy has the CPU"))


JOIN = """
import os, sys
with open(sys.argv[1], "w") as file:
    file.write("0")  # this process
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@linux_with_threads
@pytest.mark.parametrize("asked", [{}, {"OMP_NUM_THREADS": "2"}], ids=["by itself", "OMP_NUM_THREADS"])
def test_the_quota_of_a_control_group_is_kept(group_of_one_processor, asked, tmp_path):
    if counts()[0] == 1:
        pytest.skip("there is one processor without a quota, too")
    command = [sys.executable, "-c", JOIN, group_of_one_processor / "cgroup.procs", "-m", "mlpfast", "info"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    run = subprocess.run(command, env={**env, **asked}, check=True, capture_output=True, timeout=120, cwd=tmp_path)
    info = json.loads(run.stdout)
    assert (info["processors"], info["threads"]) == (1, 1)


REFUSED = """
import os, resource
import numpy as np
import mlpfast
net, X = mlpfast.Network([100, 500, 500, 7], seed=0), np.ones((3000, 100), np.float32)
trainer = mlpfast.Trainer(net, "half_squared_error", seed=0)
if os.getuid() == 0:  # whom no limit holds
    os.setgid(65534)
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
refused = net.predict(X, threads=2)
assert mlpfast._core.threads_for(2, 1e9) == 2
trainer.fit(X, np.ones((3000, 7)))
mlpfast.Trainer(net, "half_squared_error", "natural_gradient", batch_size=None, threads=2).fit(X, np.ones((3000, 7)))
assert len(os.listdir("/proc/self/task")) == 1
assert mlpfast.Network([100, 500, 500, 7], seed=0).predict(X, threads=1).tobytes() == refused.tobytes()
"""


@linux_with_threads
def test_where_the_system_refuses_threads_there_are_fewer():
    """OpenMP would end the process."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MLPFAST_OVERSUBSCRIBE": "1"}
    subprocess.run([sys.executable, "-c", REFUSED], env=env, check=True, timeout=120, cwd="/")
