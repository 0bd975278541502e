"""Text and numbers as the page of a report shows them."""

import html
import json
import math

from ..utils.terminal import printable


def finite(value):
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def whole(text):
    return str(text).lstrip("-").isdigit()


def figure(value):
    """Four digits; thousands and more as whole numbers."""
    value = finite(value)
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cell(value):
    return "" if value is None else text(value)


def text(value):
    return html.escape(printable(value))


def embedded_json(value):
    return json.dumps(value).replace("<", "\\u003c")
