"""Suggestions for unknown names."""


def nearest(value, names, others=None):
    """The names that value was probably meant as: [], or mostly one.

    others: {a name that other libraries use, as plain() gives it: its names here}.
    """
    import difflib  # here, since it is rarely needed

    known, key = {plain(name): name for name in names}, plain(value)
    if key in known:
        return [known[key]]
    if others and key in others:
        return others[key]
    longer = [name for short, name in known.items() if len(key) >= 3 and short.startswith(key)]  # for "acc"
    shorter = [name for short, name in known.items() if len(short) >= 3 and key.startswith(short)]  # for "epsilon"
    close = [known[short] for short in difflib.get_close_matches(key, known, n=1, cutoff=0.75)]
    return longer or close or shorter[:1]


def did_you_mean(value, names, others=None):
    """": did you mean 'x'?" with the nearest names, or ""."""
    near = nearest(value, names, others)
    return f": did you mean {' or '.join(map(repr, near))}?" if near else ""


def plain(name):
    """The name in lower case without separators, so that "ReLU" and "binary_crossentropy" are found."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
