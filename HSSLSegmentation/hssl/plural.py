"""How many of a thing, in words, and the first of many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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


def shortened(names: Iterable[object], most: int, between: str = ", ") -> str:
    """Returns the first of several names, and "…" where there are more.

    Example:
        >>> shortened(["liver", "spleen"], 2), shortened([3, 5, 7], 2)
        ('liver, spleen', '3, 5, …')
    """
    every = [str(name) for name in names]
    return between.join(every[:most] + ["…"] * (len(every) > most))


def with_rest(names: Sequence[object], most: int) -> str:
    """Returns the first of several names, and how many more there are.

    Example:
        >>> with_rest(["liver", "spleen"], 2), with_rest([3, 5, 7, 9], 2)
        ('liver, spleen', '3, 5 and 2 more')
    """
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + rest
