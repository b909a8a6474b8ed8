"""PyTorch: eager, and with the loss compiled by torch.compile; with its own threads and with one."""

from functools import partial

import torch
from torch.nn import functional

from . import Unsuitable

DEFAULT_THREADS = torch.get_num_threads()
ACTIVATIONS = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def model_of(problem):
    """The layers up to z_L, with the problem's first weights."""
    modules = []
    for W, b in problem.parameters:
        linear = torch.nn.Linear(*W.shape, bias=b is not None, dtype=getattr(torch, problem.case.dtype))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T))
            if b is not None:
                linear.bias.copy_(torch.from_numpy(b))
        modules += [linear, ACTIVATIONS[problem.case.activation]()]
    return torch.nn.Sequential(*modules[:-1])


def loss_of(case, model):
    """The mean loss of a minibatch, as a function of (x, y)."""
    if case.loss == "cross_entropy":
        return lambda x, y: functional.cross_entropy(model(x), y)
    return lambda x, y: (torch.sigmoid(model(x)) - y).square().sum() / len(x)


class Torch:
    """foreach=False is the fastest of the three forms of torch.optim.SGD in most cases; the fused one runs as well."""

    name, library = "PyTorch", "PyTorch"
    threads = DEFAULT_THREADS
    form = {"foreach": False}

    def __init__(self, problem):
        self.batch, self.steps = problem.case.batch, problem.steps
        self.X, self.y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        self.model = model_of(problem)
        self.loss = loss_of(problem.case, self.model)
        self.optimizer = OPTIMIZERS[problem.case.optimizer](self.model.parameters(), lr=problem.lr, **self.form)

    def ready(self, order):
        torch.set_num_threads(self.threads)
        self.minibatches = [None] * self.steps if order is None else torch.from_numpy(order).split(self.batch)

    def minibatch(self, index):
        """index_select is faster than X[index]."""
        return (self.X, self.y) if index is None else (self.X.index_select(0, index), self.y.index_select(0, index))

    def epoch(self):
        losses = []
        for index in self.minibatches:  # collecting losses in a list is faster than a running sum
            loss = self.loss(*self.minibatch(index))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    def weights(self):
        layers = self.model[::2]
        return [(x.weight.detach().T.numpy(), None if x.bias is None else x.bias.detach().numpy()) for x in layers]


class TorchOneThread(Torch):
    name = "PyTorch, 1 thread"
    threads = 1


class TorchFused(Torch):
    name = "PyTorch, fused"
    form = {"fused": True}


class TorchFusedOneThread(TorchFused):
    name = "PyTorch, fused, 1 thread"
    threads = 1


class TorchCompiled(Torch):
    """Forward and backward compiled. Adam is fused: its many small operations would hide what compiling wins."""

    name = "torch.compile"

    def __init__(self, problem):
        if problem.case.optimizer != "sgd":
            self.form = TorchFused.form
        super().__init__(problem)
        if type(self) is TorchCompiled:  # the first contender of a problem: clear compiled code of earlier ones
            torch._dynamo.reset()
        torch.set_num_threads(self.threads)
        self.loss = torch.compile(self.loss, dynamic=False)
        try:  # compiles without changing the weights
            self.loss(self.X[: self.batch], self.y[: self.batch]).backward()
        except Exception as error:  # whatever its compiler raises
            raise Unsuitable(f"torch.compile failed: {str(error).strip().splitlines()[0]}") from error
        self.optimizer.zero_grad(set_to_none=True)


class TorchCompiledOneThread(TorchCompiled):
    name = "torch.compile, 1 thread"
    threads = 1


def servers(problem):
    """With its own threads and with one. Setting them costs nothing measurable beside a call."""
    model = torch.nn.Sequential(model_of(problem), torch.nn.Softmax(dim=1)).eval()
    x = torch.from_numpy(problem.X)

    def predict():
        with torch.inference_mode():
            return model(x).numpy()

    return {
        "PyTorch": with_threads(DEFAULT_THREADS, predict),
        "PyTorch, 1 thread": with_threads(1, predict),
    }


def with_threads(threads, function):
    """function, with a way to set the threads before a turn."""
    function = partial(function)
    function.ready = partial(torch.set_num_threads, threads)
    return function
