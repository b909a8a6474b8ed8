"""What activations and losses have in common."""


class Named:
    """Known to the core by its name. parameters: the attributes that a constructor of its own takes."""

    parameters = ()

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        given = ", ".join(f"{p}={getattr(self, p)!r}" for p in self.parameters)
        return f"{type(self).__name__}({given if self.parameters else repr(self.name)})"
