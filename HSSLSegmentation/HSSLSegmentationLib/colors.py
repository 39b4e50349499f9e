"""Colours of the panel and the effect, readable on Slicer's light and dark ground."""

PROBLEM = "#c0392b"
"""Of what went wrong or cannot be used."""
PROBLEM_STYLE = f"color: {PROBLEM}"
HINT_STYLE = "background-color: rgba(46, 134, 193, 28); border-left: 3px solid #2e86c1; padding: 3px 6px;"
"""Of the sentence that says what to do next."""


def styleAnew(label) -> None:
    """Gives a label with the style of a hint its sheet again: when Slicer becomes light or dark, what has a style sheet keeps
    the old palette until then."""
    label.setStyleSheet("")
    label.setStyleSheet(HINT_STYLE)


def square(color: tuple[float, float, float]) -> str:
    """Returns a square of a colour (RGB in 0…1), as rich text for a legend."""
    red, green, blue = (round(255 * part) for part in color)
    return f'<span style="color: rgb({red}, {green}, {blue})">■</span>'
