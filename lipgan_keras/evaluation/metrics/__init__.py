"""Measures of results, as functions of arrays; `register.METRICS` holds them by name.

Rooms: register, images, position, movement, sound, learned. Importing this package registers all of them, in this
order.
"""

from . import images, position, movement, sound, learned  # noqa: F401, I001 - their order is that of the table
