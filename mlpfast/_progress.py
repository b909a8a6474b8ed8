"""How fit shows where it is."""


class Progress:
    """A tqdm bar over the epochs; a line per epoch where tqdm is missing; nothing unless wanted."""

    def __init__(self, wanted, epochs):
        self.wanted, self.epochs, self.done, self.bar = wanted, epochs, 0, None

    def __enter__(self):
        if self.wanted:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return self
            self.bar = tqdm(total=self.epochs, unit="epoch")
        return self

    def show(self, logs):
        """One more epoch is done, with these numbers."""
        self.done += 1
        if not self.wanted:  # an epoch may take microseconds
            return
        numbers = {name: f"{value:.4f}" for name, value in logs.items()}
        if self.bar is not None:
            self.bar.set_postfix(numbers, refresh=False)
            self.bar.update()
        else:
            text = "  ".join(f"{name} {value}" for name, value in numbers.items())
            print(f"epoch {self.done}/{self.epochs}  {text}", flush=True)

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()
