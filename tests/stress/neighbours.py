"""mlpfast in one process with the libraries it may meet there, imported in every order: no hang, and the golden bits.

    python tests/stress/neighbours.py [ORDERS [JOBS]]       that many orders, drawn at random; all of them by default

JOBS processes at a time, 1 by default. Each order is a process of its own: it imports, lets every neighbour compute on
its threads, trains and predicts, lets them compute again, and does it once more under limits of threadpoolctl, and in
joblib's processes and threads. What is not installed is left out, and named.
"""

import importlib
import importlib.util
import itertools
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS = 120  # a process that takes longer counts as hanging
MUCH_WORK = 1e12  # floating-point operations, enough for all threads
CASES = ["relu-sgd-dropout-float32", "tanh-adam-float64"]


def with_torch():
    import torch

    x = torch.ones(400, 400, requires_grad=True)
    (x @ x).sum().backward()


def with_sklearn():
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    MLPClassifier((20,), max_iter=2).fit(np.eye(300), np.arange(300) % 3)


def with_scipy():
    import numpy as np
    import scipy.linalg

    scipy.linalg.svd(np.ones((200, 200)) + np.eye(200))


def with_numpy():
    import numpy as np

    np.linalg.inv(np.ones((300, 300)) + np.eye(300))


def with_onnxruntime():
    import numpy as np
    import onnxruntime

    if not importlib.util.find_spec("onnx"):
        return
    from onnx import TensorProto, helper

    shape = [300, 300]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab"]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "a"], ["b"])], "square", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    session.run(None, {"a": np.ones(shape, np.float32)})


NEIGHBOURS = {
    "torch": with_torch, "sklearn": with_sklearn, "scipy": with_scipy, "numpy": with_numpy,
    "onnxruntime": with_onnxruntime,
}


def installed():
    return [name for name in NEIGHBOURS if importlib.util.find_spec(name)]


def bits(threads=2):
    """Hashes of trained networks."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import test_golden

    result = []
    for case in CASES:
        net, X = test_golden.trained(case, threads)
        result.append(test_golden.hashed(net, net.predict(X, threads=threads)))
    return result


def live_with(order):
    """In a process of its own: import in that order, and compute beside each other."""
    for name in order:
        importlib.import_module(name)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import test_golden

    import mlpfast
    from mlpfast import _core

    wanted = [test_golden.golden()[case] for case in CASES]
    neighbours = [NEIGHBOURS[name] for name in order if name in NEIGHBOURS]
    for _ in range(2):
        for compute in neighbours:
            compute()
        assert bits() == wanted, "beside " + ", ".join(order)
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_limits

        config, by_itself = mlpfast.show_config("dicts"), mlpfast.get_num_threads()
        for limit in (1, 2, 3) if config["threading"] == "openmp" else ():
            with threadpool_limits(limit):
                most = min(limit, config["processors"])
                got = mlpfast.get_num_threads(), _core.threads_for(0, MUCH_WORK)
                assert got == (most, most), f"{got} threads under threadpool_limits({limit})"
                for threads in (None, 2):  # 2: an explicit number is used as it is
                    assert bits(threads) == wanted, f"under threadpool_limits({limit}), threads={threads}"
        assert mlpfast.get_num_threads() == by_itself, "threads after threadpool_limits"
    if importlib.util.find_spec("joblib"):
        import joblib

        for backend in ("threading", "loky"):
            got = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(bits)() for _ in range(4))
            assert got == [wanted] * 4, f"in joblib's {backend}"
    assert bits() == wanted
    for compute in neighbours:
        compute()


def run(order):
    """None if all was well, else what was said."""
    command = [sys.executable, __file__, "--order", *order]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"hung for {SECONDS} s"
    return None if done.returncode == 0 else done.stderr[-2000:]


def main(count=None, jobs=1):
    present = installed()
    orders = list(itertools.permutations(["mlpfast", *present]))
    if count is not None:
        orders = random.Random(0).sample(orders, min(count, len(orders)))
    start, well = time.perf_counter(), 0
    with ThreadPoolExecutor(jobs) as pool:
        for order, said in zip(orders, pool.map(run, orders), strict=True):
            well += said is None
            if said:
                print(" ".join(order), said, sep="\n", flush=True)
    missing = ", ".join(name for name in NEIGHBOURS if name not in present) or "none"
    print(f"{well} of {len(orders)} orders of mlpfast, {', '.join(present)} with the golden bits; "
          f"not installed: {missing}; {time.perf_counter() - start:.0f} s")
    return well == len(orders)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--order"]:
        live_with(sys.argv[2:])
    else:
        sys.exit(not main(*map(int, sys.argv[1:])))
