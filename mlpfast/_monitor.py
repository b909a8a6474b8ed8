"""Following one number of the logs: does it still improve?"""

import math

from ._validate import one_of, real_number, whole_number


def greater_is_better(name):
    """Whether the number of that name in the logs shall rise: accuracy, exact_match, top_k and r2."""
    name = name.removeprefix("val_")
    return name in ("accuracy", "exact_match", "r2") or name.startswith("top_")


def check_names(there, argument, names):
    """ValueError if one of the names that an argument asks for is not among those of the logs."""
    for name in names:
        if name in there:
            continue
        hint = ""
        if name.startswith("val_") and "val_loss" not in there:
            hint = "; it needs validation_data or validation_split"
        elif name.removeprefix("val_") in ("accuracy", "exact_match", "mae", "mse", "r2") or "top_" in name:
            hint = f"; it needs metrics={name.removeprefix('val_')!r}"
        raise ValueError(f"{argument} must be one of {', '.join(there)}, got {name!r}{hint}")


def number_of(logs, argument, name):
    """logs[name], which an argument asks for."""
    check_names(logs, argument, [name])
    return logs[name]


class Monitor:
    """The best value so far of `monitor` (None: "val_loss", or else "loss"), and for how many epochs it has stood."""

    def __init__(self, monitor, patience, min_delta, mode):
        if not (monitor is None or isinstance(monitor, str)):
            raise TypeError(f"monitor must be a name, got {type(monitor).__name__}")
        self.monitor, self.mode = monitor, mode if mode is None else one_of("mode", mode, ("min", "max"))
        self.patience = whole_number("patience", patience, least=1)
        self.min_delta = real_number("min_delta", min_delta, least=0)
        self.best, self.waited = math.nan, 0

    def name_in(self, logs):
        return self.monitor or ("val_loss" if "val_loss" in logs else "loss")

    def check(self, names):
        """ValueError if the logs, which will have those names, will not have what is monitored."""
        check_names(names, "monitor", [self.name_in(names)])

    def settings(self):
        return {name: getattr(self, name) for name in ("monitor", "patience", "min_delta", "mode")}

    def observe(self, logs):
        """Take notice of an epoch's numbers -> whether this one is the best so far, by more than min_delta."""
        name = self.name_in(logs)
        value = number_of(logs, "monitor", name)
        rises = greater_is_better(name) if self.mode is None else self.mode == "max"
        better = value > self.best + self.min_delta if rises else value < self.best - self.min_delta
        better = better or (math.isnan(self.best) and not math.isnan(value))  # the first; NaN never is
        if better:
            self.best = value
        self.waited = 0 if better else self.waited + 1
        return better

    def ran_out(self):
        """Whether patience has come to its end; it then starts anew."""
        if self.waited < self.patience:
            return False
        self.waited = 0
        return True
