"""A reason why something cannot be done as it was asked for, in words for whoever asked."""


class Refusal(ValueError):
    """What was asked for cannot be done; the message says why and what to do instead. No fault of the program."""
