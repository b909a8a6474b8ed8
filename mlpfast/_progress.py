"""The progress bar of fit."""

import time

LAST = ("objective", "lr", "momentum")  # shown after all others


class Progress:
    """A tqdm bar over the epochs, or without tqdm a line per epoch; nothing if not wanted."""

    def __init__(self, wanted, epochs):
        self.wanted, self.epochs, self.done, self.bar = wanted, epochs, 0, None

    def __enter__(self):
        if self.wanted:
            self.start = time.monotonic()
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return self
            # Short, so that numbers fit into 80 columns.
            form = "{n_fmt}/{total_fmt}|{bar}|{elapsed}<{remaining}{postfix}"
            self.bar = tqdm(total=self.epochs, bar_format=form)
        return self

    def show(self, logs):
        """Show that another epoch is done, with its numbers."""
        self.done += 1
        if not self.wanted:  # an epoch may take microseconds
            return
        numbers = [(name, f"{logs[name]:.4f}") for name in in_order(logs)]
        if self.bar is not None:
            self.bar.set_postfix_str(self.that_fit([f"{name}={value}" for name, value in numbers]), refresh=False)
            self.bar.update()
        else:
            text = "  ".join(f"{name} {value}" for name, value in numbers)
            print(f"epoch {self.done}/{self.epochs}  {self.time()}  {text}", flush=True)

    def that_fit(self, numbers):
        """As many of the numbers as fit into the bar's columns uncut, at least one."""
        columns = getattr(self.bar, "ncols", None)  # None: not a terminal
        if columns is not None:
            columns -= len(f"{self.epochs}/{self.epochs}|#|0:00:00<0:00:00, ")
            while len(numbers) > 1 and len(", ".join(numbers)) > columns:
                numbers = numbers[:-1]
        return ", ".join(numbers)

    def time(self):
        """The estimated remaining time, from the mean time of an epoch so far; at the end the total time."""
        seconds, left = time.monotonic() - self.start, self.epochs - self.done
        return f"{clock(seconds * left / self.done)} left" if left else f"{clock(seconds)} in all"

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()


def in_order(names):
    """The names in the order of display: loss, accuracy, metrics, each with the validation's first; LAST at the end."""
    kinds = dict.fromkeys(name.removeprefix("val_") for name in names)
    pairs = [name for kind in kinds for name in (f"val_{kind}", kind) if name in names]
    return sorted(pairs, key=lambda name: name.removeprefix("val_") in LAST)


def clock(seconds):
    """1:23, or 1:23:45."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
