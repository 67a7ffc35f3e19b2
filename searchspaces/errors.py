"""A person's mistake, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A person's mistake: the message says what was given, what is allowed, and the nearest valid name.

    The command line prints it as one line on stderr and exits with 2.
    """


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
