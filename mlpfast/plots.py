"""Pictures, with matplotlib."""


def plot_history(history, path=None, ax=None):
    """See History.plot."""
    if not history.n_epochs:
        raise ValueError("history must have at least one epoch to plot, got none")
    figure = None
    if ax is None:
        figure, ax = _figure(interactive=path is None)
    losses = [name for name in history if name.removeprefix("val_") in ("loss", "objective")]
    others = [name for name in history if name not in losses and name != "lr"]
    lines = _draw(ax, history, losses, first_color=0)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.xaxis.get_major_locator().set_params(integer=True)
    front = ax
    if others:
        front = ax.twinx()
        lines += _draw(front, history, others, first_color=len(losses))
        front.set_ylabel("metrics")
    front.legend(lines, [line.get_label() for line in lines])  # in front, or lines would cross it
    if path is not None:
        (figure or ax.figure).savefig(path)
    return ax


def _figure(interactive):
    """A new figure and its Axes; only one that is to be shown belongs to pyplot, which would keep it."""
    try:
        if interactive:
            from matplotlib import pyplot

            return pyplot.subplots(layout="constrained")
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('History.plot needs matplotlib: pip install "mlpfast[plots]"') from error
    figure = Figure(layout="constrained")
    return figure, figure.subplots()


def _draw(ax, history, names, first_color):
    """A line for each name; epochs count from 1, as people do."""
    return [
        ax.plot(range(1, len(history[name]) + 1), history[name], f"C{first_color + i}", label=name)[0]
        for i, name in enumerate(names)
    ]
