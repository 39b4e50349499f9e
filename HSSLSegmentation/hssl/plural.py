"""How many of a thing, in words."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Returns a number with its noun.

    Args:
        number: how many.
        one: the noun for one, with what follows it where that depends on the number, too.
        many: the same for any other number; empty: with an "s" at its end.

    Example:
        >>> counted(1, "image"), counted(0, "image"), counted(3, "class is", "classes are")
        ('1 image', '0 images', '3 classes are')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
