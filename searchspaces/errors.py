"""A person's mistake, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A person's mistake: the message says what was given, what is allowed, and the nearest valid name.

    The command line prints it as one line on stderr and exits with 2.
    """


class NothingFitsError(UserError):
    """No architecture of a space fits a budget.

    Attributes:
        most_macs: the most MACs that the budget allows; None where it does not bound them.
    """

    def __init__(self, message: str, most_macs: int | None) -> None:
        super().__init__(message)
        self.most_macs = most_macs


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name.

    >>> nearest("mbcnov", ["mbconv", "resnet"])
    "; did you mean 'mbconv'?"
    >>> nearest("zzz", ["mbconv", "resnet"])
    '; known: mbconv, resnet'
    """
    known = sorted(names)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}"
