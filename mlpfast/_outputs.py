"""Parts of a network's outputs, for PerOutput of activations and of losses."""

import operator


def outputs_of(argument, outputs):
    """(first, n) of n outputs: a number, or a slice of neighbours such as slice(0, 3)."""
    if isinstance(outputs, slice):
        start = 0 if outputs.start is None else outputs.start
        if outputs.step not in (None, 1) or outputs.stop is None:
            raise ValueError(f"{argument} must be a number or a slice with an end and without a step, got {outputs!r}")
        first, end = _number(argument, start, outputs), _number(argument, outputs.stop, outputs)
    else:
        first = _number(argument, outputs, outputs)
        end = first + 1
    if not 0 <= first < end:
        raise ValueError(f"{argument} must be outputs from 0 on, at least one of them, got {outputs!r}")
    return first, end - first


def _number(argument, value, outputs):
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{argument} must be a number or a slice, got {outputs!r}") from None


def as_given(part):
    """The outputs of a part, as outputs_of takes them."""
    return part.first if part.n == 1 else slice(part.first, part.first + part.n)


def width_of(argument, parts):
    """The number of outputs of the parts together; ValueError unless each output is in one of them."""
    end = 0
    for part in sorted(parts, key=lambda part: part.first):
        if part.first != end:
            what = "several times" if part.first < end else "never"
            raise ValueError(f"{argument} must name each output once, got output {min(part.first, end)} {what}")
        end = part.first + part.n
    if end == 0:
        raise ValueError(f"{argument} must have at least one part, got none")
    return end


def items_of(argument, parts, lengths, example):
    """parts as a list of tuples of one of these lengths."""
    try:
        items = [tuple(part) for part in parts]
    except TypeError:
        items = None
    if items is None or any(len(item) not in lengths for item in items):
        raise TypeError(f"{argument} must be a list such as {example}, got {parts!r}")
    return items
