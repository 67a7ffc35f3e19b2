"""Numbers of things, for sentences."""

from __future__ import annotations


def number_of(number: int, noun: str) -> str:
    """A number and what it counts, in the singular where there is one.

    >>> number_of(1, "trial"), number_of(2000, "image")
    ('1 trial', '2,000 images')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"
