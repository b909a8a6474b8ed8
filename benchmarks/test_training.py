"""One epoch of each case's training, in mlpfast and in plain NumPy: first the same losses from both, then the times."""

import pytest

import mlpfast
from benchmarks import agreement
from benchmarks.cases import CASES, Problem
from benchmarks.contenders.ours import Mlpfast
from benchmarks.contenders.with_numpy import Numpy

MAKERS = {"mlpfast": Mlpfast, "NumPy": Numpy}


def numpy_threads():
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "as BLAS likes"
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)


@pytest.mark.parametrize("program", MAKERS)
@pytest.mark.parametrize("name", CASES)
def test_epoch(benchmark, note, name, program):
    case = CASES[name]
    agreement.agreeing(case, MAKERS.values(), [])
    problem = Problem.random(case, min(case.minibatches, 128))
    contender = MAKERS[program](problem)
    contender.ready(problem.order(0))
    benchmark.group = f"{name}: {case.describe()}, {problem.steps} steps"
    benchmark(contender.epoch)
    threads = f"at most {mlpfast.get_num_threads()}" if program == "mlpfast" else numpy_threads()
    note(threads, flops=problem.steps * case.flops(), dtype=case.dtype)
