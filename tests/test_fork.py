"""A forked child trains and predicts on its own threads with the parent's bits, and neither process hangs."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mlpfast import Network, Trainer, show_config

STRESS = Path(__file__).with_name("stress") / "forks.py"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(*command, seconds):
    """The output of a program, which is killed with its children if it hangs."""
    elsewhere = Path(__file__).parent  # not the source folder, where mlpfast may not be built
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True, cwd=elsewhere)
    try:
        output = process.communicate(timeout=seconds)[0]
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # no child is left
    assert process.returncode == 0, output
    return output


def test_forked_children_train_and_predict_on_threads_of_their_own():
    output = run(STRESS, "--forks", "98", "--seconds", "30", seconds=200)
    assert "forks: 98 of 98 went well" in output


FORK_IN_A_SIGNAL_HANDLER = """
import hashlib, os, signal, time
import numpy as np
from mlpfast import Network, Trainer

X, y = np.linspace(-1, 1, 5000 * 64, dtype=np.float32).reshape(5000, 64), np.arange(5000) % 10
children = []

def handler(number, frame):
    if frame.f_code.co_name != "_some_minibatches":  # it came between two calls of the core
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        return
    children.append(os.fork())
    if children[0] == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)

def trained():
    net = Network([64, 96, 10], output="softmax", seed=0)
    Trainer(net, seed=0, threads=2).fit(X, y)
    return net.predict(X, threads=2).tobytes()

wanted = trained()
long = Trainer(Network([64, 512, 512, 10], output="softmax", seed=0), seed=0, threads=THREADS)
start = time.perf_counter()
long.fit(X[:256], y[:256])
n = 256 + int(256 * 0.5 / (time.perf_counter() - start))  # half a second: the core looks for signals every 50 ms
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.02)
read, write = os.pipe()
while not children:
    long.fit(np.resize(X, (n, 64)), np.resize(y, n))
bits = b"".join(p.tobytes() for p in long.network.parameters)
assert trained() == wanted
long.fit(X[:100], y[:100])
if children[0] == 0:
    os.write(write, hashlib.sha256(bits).digest())
    os._exit(0)
assert os.waitpid(children[0], 0)[1] == 0, "the child went wrong"
assert os.read(read, 32) == hashlib.sha256(bits).digest(), "the child has other bits"
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_handler_may_fork_while_it_trains(threads):
    """The call goes on in both processes, in the child without helpers, with the same bits."""
    if show_config("dicts")["threading"] == "none":
        threads = 1
    run("-c", FORK_IN_A_SIGNAL_HANDLER.replace("THREADS", str(threads)), seconds=120)


FORK_IN_A_SHARED_PASS = """
import os, signal
import numpy as np
from mlpfast import LBFGS, NaturalGradient, Network, Trainer, _sharing

X, y = np.linspace(-1, 1, 20_000 * 50, dtype=np.float32).reshape(20_000, 50), np.arange(20_000) % 10
children = []

def handler(number, frame):
    names = []
    while frame:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    if "results" not in names:  # the helpers are not at work
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        return
    children.append(os.fork())
    if children[-1] == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)

def trained():
    net = Network([50, 200, 10], output="softmax", seed=0)
    trainer = Trainer(net, optimizer=OPTIMIZER, batch_size=None, threads=2)
    while True:
        trainer.fit(X, y, epochs=1)
        if trainer.epoch >= 2:
            return net.predict(X, threads=1).tobytes()

wanted = trained()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.02)
got = trained()
while not children:
    assert got == wanted
    got = trained()
assert got == wanted
if children[0] == 0:
    os._exit(0)
assert os.waitpid(children[0], 0)[1] == 0, "the child went wrong"
"""


@pytest.mark.parametrize("optimizer", ["LBFGS()", "NaturalGradient(cg_iterations=3)"])
def test_a_signal_handler_may_fork_while_chunks_are_shared(optimizer):
    """The child computes all chunks on its own."""
    pytest.importorskip("scipy")
    run("-c", FORK_IN_A_SHARED_PASS.replace("OPTIMIZER", optimizer), seconds=120)


FORKS_WHILE_OTHERS_PREDICT = """
import os, signal, threading
import numpy as np
from mlpfast import Network, Trainer

X, net = np.ones((3, 8), np.float32), Network([8, 16, 4], output="softmax", seed=0)
wanted, stop = net.predict(X).tobytes(), False

def work():
    while not stop:
        net.predict(X)

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(40):
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs
        well = net.predict(X).tobytes() == wanted
        Trainer(net, seed=0).step(X, [0, 1, 2])
        os._exit(not well)
    assert os.waitpid(child, 0)[1] == 0
stop = True
for thread in threads:
    thread.join()
"""


def test_forks_while_others_predict_with_the_same_network():
    run("-c", FORKS_WHILE_OTHERS_PREDICT, seconds=100)


def test_only_a_trainer_of_this_process_occupies_a_network():
    """In a child forked while another thread was training, the network is free."""
    net = Network([3, 2], seed=0)
    thread = threading.Thread(target=net._core.begin_training)  # this thread does not exist in the child
    thread.start()
    thread.join()
    step = (Trainer(net, "half_squared_error", seed=0), np.zeros((1, 3), np.float32), np.zeros((1, 2)))
    with pytest.raises(RuntimeError, match="trained by another thread"):
        step[0].step(*step[1:])
    child = os.fork()
    if child == 0:
        try:
            step[0].step(*step[1:])
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert net._core.training
    net._core.end_training()
    step[0].step(*step[1:])
