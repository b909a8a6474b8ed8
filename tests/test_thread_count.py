"""The number of threads of a call is limited by OMP_NUM_THREADS, the affinity mask and a container's CPU quota."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_python

import mlpfast

COUNT = """
import json, os, sys, time
if len(sys.argv) > 1:
    os.sched_setaffinity(0, {int(sys.argv[1])})
import numpy as np
import mlpfast
net, before = mlpfast.Network([256, 512, 512, 10], seed=0), len(os.listdir("/proc/self/task"))
X = np.ones((500, 256), np.float32)
mlpfast.Trainer(net, "half_squared_error", seed=0).fit(X, np.ones((500, 10)))
net.predict(X)
config = mlpfast.show_config("dicts")
time.sleep(0.3)  # helpers come when they come
new = len(os.listdir("/proc/self/task")) - before
helpers = max(new - (config["threading"] == "openmp"), 0)  # whose threads need one that sleeps besides
print(json.dumps([config["processors"], config["threads"], 1 + helpers]))
"""


def counts(*arguments, **variables):
    """In a new process: (processors, maximum number of threads, number of threads used)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MLPFAST_OVERSUBSCRIBE"))}
    return tuple(json.loads(run_python(COUNT, *arguments, env={**env, **variables})))


linux_with_threads = pytest.mark.skipif(
    sys.platform != "linux" or mlpfast.show_config("dicts")["threading"] == "none", reason="counts threads in /proc")


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


@linux_with_threads
def test_other_variables_of_openmp_are_kept():
    processors = counts()[0]
    assert counts(OMP_NUM_THREADS="1,4") == (processors, 1, 1)  # a list: for parallel regions within others
    assert counts(OMP_THREAD_LIMIT="1")[2] == 1


LIMITED = """
import threading, mlpfast
from threadpoolctl import threadpool_limits
counts = [mlpfast.get_num_threads()]
with threadpool_limits(1):
    counts.append(mlpfast.get_num_threads())
    other = threading.Thread(target=lambda: counts.append(mlpfast.get_num_threads()))
    other.start()
    other.join()
counts.append(mlpfast.get_num_threads())
print(*counts)
"""


@linux_with_threads
@pytest.mark.parametrize("first", ["import threadpoolctl", "import mlpfast"])
def test_limits_of_threadpoolctl_hold_for_the_thread_that_sets_them(first):
    pytest.importorskip("threadpoolctl")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MLPFAST_OVERSUBSCRIBE"))}
    n = counts()[1]
    assert run_python(first + LIMITED, env=env) == f"{n} 1 {n} {n}\n"


@linux_with_threads
def test_threads_that_are_asked_for_need_some_work():
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MLPFAST_OVERSUBSCRIBE"))}
    program = "from mlpfast import _core; print(*(_core.threads_for(2, flops) for flops in (1e3, 1e5, 1e9)))"
    assert run_python(program, env=env) == ("1 2 2\n" if counts()[0] > 1 else "1 1 1\n")


CHANGED = """
import os, time
import mlpfast
cpus = os.sched_getaffinity(0)
for mask in ({min(cpus)}, cpus):
    os.sched_setaffinity(0, mask)
    time.sleep(0.1)
    print(mlpfast.show_config("dicts")["processors"] == len(mask))
"""


@linux_with_threads
def test_a_changed_affinity_mask_is_noticed():
    noticed = run_python(CHANGED).split()
    if mlpfast.show_config("dicts")["processors"] < len(os.sched_getaffinity(0)):
        pytest.skip("a CPU quota allows fewer processors than the affinity mask")
    assert noticed == ["True", "True"]


BOUND = """
import os
import numpy
before = os.sched_getaffinity(0)
import mlpfast
assert os.sched_getaffinity(0) == before, (before, os.sched_getaffinity(0))
"""


@linux_with_threads
@pytest.mark.parametrize("variable", ["OMP_PROC_BIND=true", "OMP_PLACES={0},{1}", "GOMP_CPU_AFFINITY=0-1"])
def test_variables_of_openmp_do_not_bind_the_program(variable):
    name, value = variable.split("=")
    env = {key: text for key, text in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    run_python(BOUND, env={**env, name: value})


FEW = """
import os, time
import numpy as np
import mlpfast
net = mlpfast.Network([64, 100, 10], output="softmax", seed=0)
trainer = mlpfast.Trainer(net)
X, y = np.zeros((64, 64), "float32"), np.zeros(64, int)
before = len(os.listdir("/proc/self/task"))
for _ in range(20):
    trainer.step(X, y), net.predict(X)
    time.sleep(0.005)
print(len(os.listdir("/proc/self/task")) - before)
"""


@linux_with_threads
def test_little_work_makes_no_threads():
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MLPFAST_OVERSUBSCRIBE"))}
    # Where other programs interrupt a call, it seems to have had more work.
    assert any(run_python(FEW, env=env) == "0\n" for _ in range(5))


def quota_module():
    spec = importlib.util.spec_from_file_location("quota", Path(__file__).parents[1] / "benchmarks" / "quota.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def group_of_one_processor():
    quota = quota_module()
    try:
        with quota.group(1) as (folder, _):
            yield folder
    except quota.Unavailable as error:
        pytest.skip(str(error))


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
    run_python(REFUSED, env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MLPFAST_OVERSUBSCRIBE": "1"})
