"""The progress bar of fit."""

import time

from ._pace import Pace

LAST = ("objective", "lr", "momentum")  # shown after all others
LINE_SECONDS = 10  # between two lines within an epoch
FORM = "{desc}|{bar}|{elapsed}<{remaining}{postfix}"  # short, so that numbers fit into 80 columns
WITHOUT_END = "{desc} {elapsed}{postfix}"


class Progress:
    """A tqdm bar, or without tqdm a line per epoch and one every LINE_SECONDS; nothing if not wanted.

    rows: of an epoch; None if unknown, until one is done. batch_rows: of a minibatch.
    """

    def __init__(self, wanted, epochs, rows, batch_rows):
        self.wanted, self.epochs, self.rows, self.batch_rows = wanted, epochs, rows, batch_rows
        self.done, self.bar, self.pace = 0, None, Pace()
        self.rows_done = self.begun = 0  # of all epochs; when this process began
        self.logs = {}  # of the last epoch

    def __enter__(self):
        if self.wanted:
            self.start = self.line = time.monotonic()
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return self
            total, form = self.rows and self.epochs * self.rows, FORM if self.rows else WITHOUT_END
            self.bar = tqdm(total=total, desc=f"0/{self.epochs}", bar_format=form, smoothing=0)
        return self

    def go_on(self, epochs):
        """The number of epochs that were done in an earlier process."""
        if not (self.wanted and epochs):
            return
        self.done, self.begun = epochs, epochs * (self.rows or 0)
        self.set_rows(self.begun)
        if self.bar is not None:
            self.bar.initial = self.bar.n = self.begun
            self.bar.set_description_str(f"{self.done}/{self.epochs}")

    def begin(self):
        """An epoch begins."""
        if self.wanted:
            self.pace.start()
            self.epoch_start = time.monotonic()

    def move(self, batches, logs):
        """Show that `batches` minibatches of the epoch are done, with its numbers so far."""
        if not self.wanted:
            return
        now, rows = self.pace.look(), batches * self.batch_rows
        if self.rows is not None and rows >= self.rows:  # `show` follows
            return
        step = self.set_rows(self.done * (self.rows or 0) + rows)
        if self.bar is not None:
            before = {name: value for name, value in self.logs.items() if name not in logs}
            numbers = [self.rate(rows, now), *texts(logs, "="), *texts(before, "=")]
            self.bar.set_postfix_str(self.that_fit(numbers), refresh=False)
            self.bar.update(step)
        elif now - self.line >= LINE_SECONDS:
            self.line = now
            so_far = [f"{100 * rows // self.rows}%", self.time()] if self.rows else [f"{short(rows)} rows"]
            self.print(self.done + 1, *so_far, self.rate(rows, now), *texts(logs, " "))

    def counted(self, rows):
        """The number of rows of an epoch, if that was unknown."""
        if self.wanted:
            self.rows, self.begun = rows, self.done * rows
            if self.bar is not None:
                self.bar.total, self.bar.bar_format = self.epochs * rows, FORM
                self.bar.initial = self.begun

    def show(self, logs):
        """Show that another epoch is done, with its numbers."""
        self.done += 1
        if not self.wanted:  # an epoch may take microseconds
            return
        self.logs, self.line = dict(logs), time.monotonic()
        step = self.set_rows(self.done * self.rows)
        if self.bar is not None:
            self.bar.set_description_str(f"{self.done}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(self.that_fit(texts(logs, "=")), refresh=False)
            self.bar.update(step)
        else:
            self.print(self.done, self.time(), self.rate(self.rows, self.line), *texts(logs, " "))

    def set_rows(self, rows):
        """-> how many more these are."""
        step, self.rows_done = rows - self.rows_done, rows
        return step

    def print(self, epoch, *texts):
        print("  ".join([f"epoch {epoch}/{self.epochs}", *texts]), flush=True)

    def that_fit(self, numbers):
        """As many of the numbers as fit into the bar's columns uncut, at least one."""
        columns = getattr(self.bar, "ncols", None)  # None: not a terminal
        if columns is not None:
            columns -= len(f"{self.epochs}/{self.epochs}|#|0:00:00<0:00:00, ")
            while len(numbers) > 1 and len(", ".join(numbers)) > columns:
                numbers = numbers[:-1]
        return ", ".join(numbers)

    def rate(self, rows, now):
        """The rows per second in this epoch, of which `rows` rows are done."""
        seconds = now - self.epoch_start
        return f"{short(rows / max(seconds, 1e-9))} rows/s"

    def time(self):
        """The estimated remaining time, from the mean time of a row so far; at the end the total time."""
        seconds, left = time.monotonic() - self.start, self.epochs * self.rows - self.rows_done
        return f"{clock(seconds * left / (self.rows_done - self.begun))} left" if left else f"{clock(seconds)} in all"

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()


def texts(logs, sign):
    """The numbers in the order of display, each with its name."""
    return [f"{name}{sign}{logs[name]:.4f}" for name in in_order(logs)]


def in_order(names):
    """The names in the order of display: loss, accuracy, metrics, each with the validation's first; LAST at the end."""
    kinds = dict.fromkeys(name.removeprefix("val_") for name in names)
    pairs = [name for kind in kinds for name in (f"val_{kind}", kind) if name in names]
    return sorted(pairs, key=lambda name: name.removeprefix("val_") in LAST)


def short(number):
    """950, 12.3k, 4.56M, to three digits."""
    for unit in ("", "k", "M", "G"):
        if number < 999.5 or unit == "G":
            return f"{number:.0f}{unit}" if number >= 99.95 or not unit else f"{number:.3g}{unit}"
        number /= 1000
    raise AssertionError


def clock(seconds):
    """1:23, or 1:23:45."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
