"""What activations and losses have in common."""


class Named:
    """Known to the core by its name, and fixed once it is made, since a network or a Trainer has been told what it is.

    parameters: the attributes that a constructor of its own takes.
    """

    parameters = ()

    def __init__(self, name, **values):
        vars(self).update(name=name, **values)

    def __setattr__(self, name, value):
        raise AttributeError(f"{name} cannot be changed: make a new {type(self).__name__}")

    def __repr__(self):
        given = ", ".join(f"{p}={getattr(self, p)!r}" for p in self.parameters)
        return f"{type(self).__name__}({given if self.parameters else repr(self.name)})"
