"""The loops of LBFGS and NaturalGradient, which take all examples at once. The formulas are in optimizers.py.

Both treat the trainable parameters as one float64 vector, `Variables`. The core computes the gradient of each chunk of
Trainer.chunk_rows rows in the network's dtype, and the chunks are added in float64 in their order; so are the products
of NaturalGradient with F, which use the kernels of backprop.py. Each chunk is computed by one thread.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, _kernels, activations, backprop
from ._arrays import CHANGED, not_finite
from ._config import checked_threads
from ._examples import selected
from ._loop import Loop
from ._sharing import in_order
from .minibatches import MinibatchLoop
from .schedules import is_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._core import Data
    from ._run import Run
    from ._types import Array, ArrayLike
    from .backprop import Tape
    from .minibatches import TrainingRows
    from .network import Network
    from .trainer import Trainer

FLOPS_SHARE = 1 / 100  # of a chunk: a Python thread costs about as much as a hundred barriers


def check_all_rows(trainer: Trainer) -> None:
    """ValueError for minibatches."""
    if trainer.batch_size is not None:
        name = type(trainer.optimizer).__name__
        raise ValueError(f"batch_size must be None for {name}, which takes all rows at once, got {trainer.batch_size}")


class AllRowsLoop(MinibatchLoop):
    """All rows are one minibatch of the core."""

    def check(self, trainer: Trainer) -> None:
        check_all_rows(trainer)


class FullBatchLoop(Loop):
    """What both have in common."""

    def check(self, trainer: Trainer) -> None:
        net, name = trainer.network, type(trainer.optimizer).__name__
        check_all_rows(trainer)
        zeros = [("l1", trainer.l1), ("input_dropout", net.input_dropout), ("input_noise", net.input_noise)]
        for number, layer in enumerate(net.layers, 1):
            zeros += [(f"l1 of layer {number}", layer.l1), (f"dropout of layer {number}", layer.dropout)]
        for setting, value in zeros:
            if value:
                raise ValueError(
                    f"{setting} must be 0 for {name}, which needs one differentiable function, got {value!r}"
                )
        for number, layer in enumerate(net.layers, 1):
            for setting in ("lr_factor", "bias_lr_factor"):
                if getattr(layer, setting) != 1:
                    raise ValueError(
                        f"{setting} of layer {number} must be 1 for {name}, whose step is one of all layers together, "
                        f"got {getattr(layer, setting)!r}"
                    )
        for l2 in (trainer.l2, *(layer.l2 for layer in net.layers)):
            if is_schedule(l2):
                raise ValueError(f"l2 must be a number for {name}, got {l2!r}")
        for limit in ("clip_value", "clip_norm", "max_norm"):
            if getattr(trainer, limit) is not None:
                raise ValueError(f"{limit} must be None for {name}, got {getattr(trainer, limit)!r}")
        if not any(layer.trainable for layer in net.layers):
            raise ValueError(f"network must have a trainable layer for {name}, got none")

    def apply(self, trainer: Trainer, gradients: Sequence[ArrayLike]) -> None:
        raise ValueError(f"apply needs an optimizer of minibatches, got {type(trainer.optimizer).__name__}")


# ---- The objective and its gradient ----


def threads_for(trainer: Trainer, rows: int) -> int:
    """The number of threads for the chunks."""
    net = trainer.network
    loss = trainer.loss.traits
    if loss.is_custom or loss.joins or any(layer._unit.traits.is_custom for layer in net.layers):
        return 1  # functions that users give are called in the calling thread; joined rows are one chunk
    numbers = sum(layer.W.size for layer in net.layers)
    flops = 6 * min(rows, trainer.chunk_rows) * numbers
    return _core.threads_for(checked_threads(trainer.threads), FLOPS_SHARE * flops)


class Variables:
    """The parameters of the trainable layers, [W, b, slopes] of each in turn, as one float64 vector theta.

    penalties: of the same length, the l2 of each element: J = L + 1/2 sum penalties theta^2. Masked weights are
    elements too; their gradient is always 0.
    """

    layers: list[tuple[int, Any, list[Array]]]
    lowest: int
    penalties: Array

    def __init__(self, net: Network, l2: Any) -> None:
        self.net = net
        self.layers = [(l, layer, layer.parameters) for l, layer in enumerate(net.layers) if layer.trainable]
        self.lowest = self.layers[0][0]
        self.penalties = np.concatenate([
            np.full(p.size, l2 + layer.l2 if p.ndim == 2 else 0.0) for _, layer, own in self.layers for p in own
        ])

    def read(self) -> Array:
        return np.concatenate([p.ravel() for *_, own in self.layers for p in own], dtype=np.float64)

    def write(self, theta: Array) -> None:
        parts = self.split(theta)
        for l, layer, own in self.layers:
            for p, part in zip(own, parts[l], strict=True):
                p[...] = part if p.ndim == 1 or layer.mask is None else np.where(layer.mask, part, 0)

    def split(self, vector: Array) -> list[Any]:
        """[[V, v_b, v_slopes] or None for each layer of the network], in its dtype."""
        vector = vector.astype(self.net.dtype)  # if that makes infinity of a number, the loss is not finite
        parts: list[Any] = [None] * len(self.net.layers)
        at = 0
        for l, _, own in self.layers:
            parts[l] = mine = []
            for p in own:
                mine.append(vector[at : at + p.size].reshape(p.shape))
                at += p.size
        return parts

    def gather(self, arrays: list[Array]) -> Array:
        """The vector of arrays of the shapes of network.parameters."""
        trained = [layer.trainable for layer in self.net.layers for _ in layer.parameters]
        own = [array.ravel() for array, is_trained in zip(arrays, trained, strict=True) if is_trained]
        return np.concatenate(own, dtype=np.float64)


class Objective:
    """J of all examples, and its gradient, at the present parameters of the network."""

    net: Network
    loss: Any
    where: str
    settings: dict[str, Any]
    chunk_rows: int
    variables: Variables
    check_finite: bool
    threads: int
    chunks: list[Data]
    weight_sum: float
    scale: float
    counts: Any

    def __init__(self, trainer: Trainer, data: Data) -> None:
        self.net, self.loss, self.where = trainer.network, trainer.loss, f"epoch {trainer.epoch}"
        self.settings, self.chunk_rows = trainer._settings(), trainer.chunk_rows
        self.variables = Variables(self.net, trainer.l2)
        self.check_finite, self.threads = trainer.check_finite, threads_for(trainer, len(data))
        self.cores: list[_core.Trainer] = []  # idle _core.Trainers, at most one for each thread
        self.data = data  # the chunks are views of it
        self.chunks = [
            selected(data, slice(i, i + self.chunk_rows), self.net.input_scale)
            for i in range(0, len(data), self.chunk_rows)
        ]
        self.weight_sum = data.weight_sum
        self.scale = _scale(data)

    def value_and_gradient(self) -> tuple[float, Array]:
        """(J, dJ/dtheta)"""
        self.data.check(self.net._core)
        v = self.variables
        theta = v.read()
        g, self.counts = v.penalties * theta, np.zeros(3)
        # A loss that combines rows, as a Custom one may, is called once, with all of them.
        joins = self.loss.traits.is_custom or self.loss.traits.joins
        chunks = [self.data] if joins else self.chunks
        for gradient, *counts in in_order(self.gradient, chunks, self.threads):
            g += gradient
            self.counts += counts
        J = self.counts[0] * self.scale + dot(v.penalties * theta, theta) / 2
        self.check(J, g)
        return J, g

    def gradient(self, chunk: Any) -> Any:
        """The chunk's parts of dL/dtheta and of the sums of losses, right labels and rows with all labels right."""
        core = self.idle_core()
        options = _core.gradient_options(scale=self.scale, unpenalised=True)
        failure, result, arrays = core.gradient(chunk, self.settings, 1, options, guarded=True)
        self.cores.append(core)
        if failure == "input":
            found = not_finite(self.data, self.net) or CHANGED
            raise FloatingPointError(f"{self.where}: {found}; the parameters are those before this epoch")
        if failure is not None:
            self.check(result["bad_loss"] if failure == "loss" else 0.0, np.array(np.nan))
        return self.variables.gather(arrays), result["loss_sum"], result["correct"], result["exact"]

    def idle_core(self) -> Any:
        try:
            return self.cores.pop()
        except IndexError:
            return _core.Trainer(self.net._core, self.loss, self.chunk_rows)

    def sums(self) -> tuple[float, ...]:
        """The sums of the last value_and_gradient, as Loop.epoch returns them."""
        loss_sum, correct, exact = self.counts.tolist()
        return loss_sum, self.weight_sum, correct, exact

    def check(self, J: float, vector: Array) -> None:
        """FloatingPointError if J or the vector holds NaN or infinity."""
        if self.check_finite and not (math.isfinite(J) and np.isfinite(vector).all()):
            what = "gradient or step is not finite" if math.isfinite(J) else f"loss is {J}"
            raise FloatingPointError(f"{self.where}: the {what}; the parameters are those before this epoch")


def _scale(data):
    """The factor of the sum of the examples' gradients, as in mlp_gradient_scale of update.c."""
    if data.mean_weight:
        return 1 / (len(data) * data.mean_weight)
    return 1 / data.weight_sum if data.weight_sum else 0.0


def dot(u: Array, v: Array) -> float:
    """u . v, summed by NumPy: the order of a BLAS depends on its threads."""
    return float(np.sum(u * v))


# ---- L-BFGS: SciPy runs the loop, and calls back where epochs begin and end ----


class _Stop(Exception):
    """The training is to end."""


class _Restart(Exception):
    """A callback has changed the parameters or the settings: SciPy must start again from there."""


class _Raised(Exception):
    """A callback has raised StopIteration, which SciPy would take for a signal to itself."""


class LBFGSLoop(FullBatchLoop):
    """An epoch is an iteration of scipy.optimize.minimize."""

    def fit(self, trainer: Trainer, rows: TrainingRows, epochs: int, run: Run) -> None:
        try:
            from scipy.optimize import minimize
        except ImportError as error:
            raise ImportError('LBFGS needs SciPy: pip install "mlpfast[lbfgs]"') from error
        _Search(trainer, rows.data, epochs, run).search(minimize)

    def epoch(self, trainer: Trainer, rows: TrainingRows, run: Run) -> Any:
        return self.step(trainer, rows.data)

    def step(self, trainer: Trainer, data: Data) -> Any:
        trainer._settings()
        raise ValueError("step needs an optimizer of minibatches, got LBFGS: use fit")


class _Search:
    def __init__(self, trainer, data, epochs, run):
        self.trainer, self.data, self.run = trainer, data, run
        self.optimizer, self.net = trainer.optimizer, trainer.network
        self.left = min(epochs, self.optimizer.max_iterations or epochs)
        trainer._core.prepare(trainer._settings())
        self.set_objective()
        self.seen: Any = None  # the parameters of the last call of the objective
        self.begun = False  # whether `begin` was called for this epoch
        self.searching = False  # whether the network may hold a trial point of the line search

    def set_objective(self):
        self.settings, self.layers = self.trainer._settings(), self.net._core.layers  # callbacks may change them
        self.objective = Objective(self.trainer, self.data)
        self.variables = self.objective.variables
        self.accepted = self.variables.read()  # the parameters after the last whole iteration

    def search(self, minimize):
        self.optimizer.message = None
        options = {
            "maxcor": self.optimizer.history, "gtol": self.optimizer.tolerance, "maxls": 50, "maxiter": 10**9,
            "maxfun": 10**9, "ftol": float(np.finfo(self.net.dtype).eps),
        }
        while True:
            try:
                result = minimize(self.at, self.accepted, jac=True, method="L-BFGS-B", callback=self.iteration,
                                  options=options)
            except _Restart:
                self.set_objective()
                continue
            except _Stop:
                return
            except _Raised as raised:
                raise raised.__cause__ from None  # type: ignore[misc]
            except BaseException:
                self.restore()
                raise
            break
        self.restore()
        self.optimizer.message = str(result.message)
        if self.begun:  # the search has ended in the middle of an epoch
            self.ended()

    def at(self, theta):
        """J and its gradient at theta, which become the network's parameters."""
        if not self.begun:  # SciPy has not converged: another iteration begins
            self.begun = True
            if self.outside(self.run.begin)[1]:
                raise _Restart
        with _core.Training(self.net._core):
            self.objective.where = f"epoch {self.trainer.epoch}"
            self.searching = True
            self.variables.write(theta)
            self.seen = self.variables.read()
            return self.objective.value_and_gradient()

    def iteration(self, theta):
        """SciPy has accepted theta."""
        self.variables.write(theta)
        self.accepted = self.variables.read()
        self.left -= 1
        stop, changed = self.ended()
        if stop or self.left == 0:
            raise _Stop
        if changed:
            raise _Restart

    def ended(self):
        self.begun = False
        self.trainer._core.count_step()
        if not np.array_equal(self.seen, self.accepted):  # the line search failed: the last trial was another point
            with _core.Training(self.net._core):
                self.objective.value_and_gradient()
        sums = self.objective.sums()
        return self.outside(lambda: self.run.batch_end(1, sums) or self.run.end(sums))

    def outside(self, call):
        """(what call returns, whether it changed the parameters or the settings)"""
        self.searching = False
        try:
            result = call()
        except StopIteration as error:
            raise _Raised from error
        if self.trainer.optimizer is not self.optimizer:
            raise ValueError(f"optimizer must stay LBFGS as long as its fit runs, got {self.trainer.optimizer!r}")
        before, self.accepted = self.accepted, self.variables.read()
        changed = self.trainer._settings() != self.settings or self.net._core.layers is not self.layers
        return result, changed or not np.array_equal(before, self.accepted)

    def restore(self):
        """Set the parameters to those after the last whole iteration, unless a callback is running."""
        if self.searching:
            self.variables.write(self.accepted)


# ---- Natural gradient ----


class NaturalGradientLoop(FullBatchLoop):
    """An epoch is a step."""

    def check(self, trainer: Trainer) -> None:
        super().check(trainer)
        output, loss = trainer.network.layers[-1]._unit.name, trainer.loss
        natural = loss.traits.natural
        if natural is None or output not in (natural, "identity"):
            pairs = ", ".join(f"{row.natural} + {name}" for name, row in _core.LOSSES.items() if row.natural)
            raise ValueError(
                f"loss and output must be one of {pairs} for NaturalGradient, got {output} + {loss.name}"
            )

    def epoch(self, trainer: Trainer, rows: TrainingRows, run: Run) -> tuple[Any, dict[str, float]] | None:
        sums, logs = _natural_step(trainer, trainer._settings(self), rows.data)
        return None if run.batch_end(1, sums) else (sums, logs)

    def step(self, trainer: Trainer, data: Data) -> float:
        (loss_sum, weight_sum, *_), _logs = _natural_step(trainer, trainer._settings(self), data)
        return loss_sum / (weight_sum or 1.0)


def _natural_step(trainer, settings, data):
    """-> (Objective's sums before it, {"objective": J before it} if anything is penalised)"""
    optimizer = trainer._used
    trainer._core.prepare(settings)
    with _core.Training(trainer.network._core):
        objective = Objective(trainer, data)
        J, d = direction(objective, optimizer)
        variables = objective.variables
        # Before anything changes: allocations may fail.
        sums, logs = objective.sums(), {"objective": J} if variables.penalties.any() else {}
        before = variables.read()
        try:
            variables.write(before - settings["lr"] * d)
            objective.check(J, variables.read())
        except BaseException:
            variables.write(before)
            raise
    trainer._core.count_step()
    return sums, logs


def direction(objective: Objective, optimizer: Any) -> tuple[float, Array]:
    """(J, d) with (F + l2 + damping I) d = dJ/dtheta."""
    J, g = objective.value_and_gradient()
    fisher = Fisher(objective)
    diagonal = objective.variables.penalties + float(optimizer.damping)
    return J, conjugate_gradients(
        lambda v: fisher(v) + diagonal * v, g, optimizer.cg_iterations, optimizer.cg_tolerance
    )


class Fisher:
    """v -> F v = (1/B) sum over examples of J^T H J v."""

    variables: Variables
    net: Network
    scale: float
    threads: int
    output: activations.Activation
    chunks: list[Any]

    def __init__(self, objective: Objective) -> None:
        self.variables, self.net, self.scale = objective.variables, objective.net, objective.scale
        self.threads = objective.threads
        # H is the Jacobian of the output's activation g, since delta_L = g(z_L) - y for these losses.
        self.output = activations.Activation(objective.loss.traits.natural)
        self.chunks = list(in_order(self.of_forward_pass, objective.chunks, self.threads))

    def of_forward_pass(self, chunk: Any) -> Any:
        tape = backprop._forward(self.net, chunk.inputs)
        weights = chunk.weights if chunk.weights is None else chunk.weights[:, None]
        weights = weights if chunk.entries is None else chunk.entries
        return tape, weights, _kernels.activate(tape.z[-1], self.output)

    def __call__(self, v: Array) -> Array:
        parts, total = self.variables.split(v), np.zeros(len(v))
        for part in in_order(lambda chunk: self.of_chunk(parts, *chunk), self.chunks, self.threads):
            total += part
        return total

    def of_chunk(self, parts: Any, tape: Tape, weights: Array | None, p: Array) -> Array:
        u = jacobian_product(self.net, tape, parts)
        _kernels.through_derivative(u, p, self.output)
        if weights is not None:
            u *= weights
        return self.transposed_product(tape, u)

    def transposed_product(self, tape: Tape, u: Array) -> Array:
        """scale J^T u: the gradient for delta_L = u."""
        a_below = [tape.X, *tape.a]
        parts: list[np.ndarray] = []
        for l in range(len(self.net.layers) - 1, self.variables.lowest - 1, -1):
            layer: Any = self.net.layers[l]
            slope: Any = None
            if l < len(self.net.layers) - 1:
                u = _kernels.delta_below(u, self.net.layers[l + 1].W)
                if layer.slopes is not None:  # their gradient is formed from d loss / d a
                    slope = _kernels.slope_gradient(u, tape.z[l], layer._unit.shared)
                backprop._through_derivative(self.net, tape, l, u)
            if layer.trainable:
                own = [_kernels.weight_gradient(layer.W, layer._mask_of_core(), a_below[l], u, self.scale, 0, 0)]
                own += [_kernels.scaled_sum(u, self.scale)] if layer.bias else []
                own += [] if layer.slopes is None else [_kernels.scaled_sum(slope[None], self.scale)]
                parts = own + parts
        return np.concatenate([part.ravel() for part in parts], dtype=np.float64)


def jacobian_product(net: Network, tape: Tape, parts: Any) -> Any:
    """J v (B, n_L), the derivative of z_L in the direction v = parts, as from Variables.split: Pearlmutter's R.

        R z_l = (R a_{l-1}) W_l + a_{l-1} V_l + v_b,   R a_l = g_l'(z_l) R z_l + min(z_l, 0) v_slopes,   R a_0 = 0
    """
    Ra = None
    for l, (layer, part) in enumerate(zip(net.layers, parts, strict=True)):
        Rz = None if Ra is None else _kernels.affine(Ra, layer.W, None)
        if part is not None:
            v_b = part[1] if layer.bias else None
            own = _kernels.affine(tape.a[l - 1] if l else tape.X, part[0], v_b)
            Rz = own if Rz is None else Rz + own
        if l == len(net.layers) - 1 or Rz is None:
            Ra = Rz
            continue
        # The Jacobians of activations are symmetric, softmax's too: J v and J^T v are the same.
        backprop._through_derivative(net, tape, l, Rz)
        if part is not None and layer.slopes is not None:
            Rz += np.minimum(tape.z[l], 0) * part[-1]
        Ra = Rz
    return Ra


def conjugate_gradients(product: Callable[[Array], Array], g: Array, iterations: int, tolerance: float) -> Array:
    """d with product(d) = g up to |residual| <= tolerance |g|, from d = 0; Hestenes and Stiefel (1952)."""
    d, r, p = np.zeros_like(g), g.copy(), g.copy()
    rr = dot(r, r)
    least = tolerance**2 * rr
    for _ in range(iterations):
        if rr <= least:
            break
        Ap = product(p)
        curvature = dot(p, Ap)
        if curvature <= 0:  # nothing left but rounding
            break
        alpha = rr / curvature
        d += alpha * p
        r -= alpha * Ap
        rr, before = dot(r, r), rr
        p = r + rr / before * p
    return d
