"""Numbers of things and lists of them, for sentences."""

from __future__ import annotations

from collections.abc import Sequence


def number_of(number: int, noun: str) -> str:
    """A number and what it counts, in the singular where there is one.

    >>> number_of(1, "trial"), number_of(2000, "image")
    ('1 trial', '2,000 images')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(names: Sequence[str]) -> str:
    """Names one after the other.

    >>> listed(["accuracy", "MACs", "parameters"]), listed(["accuracy", "MACs"])
    ('accuracy, MACs and parameters', 'accuracy and MACs')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
