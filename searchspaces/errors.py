"""A person's mistake, said in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

LONG: Final = 200
"""Characters of a quoted value, and of any word, above which a message has its beginning only."""
SHOWN: Final = 80
"""Characters of that beginning."""
WHOLE: Final = 4000
"""Characters of a message above which its middle is left out; the longest list of names has 2,300."""


class UserError(Exception):
    """A person's mistake: the message says what was given, what is allowed, and the nearest valid name.

    The command line prints it as one line on stderr and exits with 2. Very long values in it are cut; see `brief`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(brief(message))


def brief(message: str) -> str:
    """A message in which each very long value is cut, where it is quoted and where it is one word, and the message too.

    >>> brief(f"unknown space {300 * 'x'!r}; known: mbconv").replace(80 * "x", "x")
    "unknown space 'x… (300 characters)'; known: mbconv"
    """
    message = _QUOTED.sub(lambda found: _cut(found[0][1:-1], found[0][0]), message)
    message = _WORD.sub(lambda found: _cut(found[0]), message)
    return message if len(message) <= WHOLE else f"{message[: WHOLE // 2]} … {message[-WHOLE // 4 :]}"


_QUOTED: Final = re.compile(rf"(?<![\w'\"])(?:'(?:[^'\\]|\\.){{{LONG},}}'|\"(?:[^\"\\]|\\.){{{LONG},}}\")(?!\w)")
"""As `repr` quotes; an apostrophe after a letter begins nothing."""
_WORD: Final = re.compile(rf"\S{{{LONG + 2},}}")


def _cut(value: str, quote: str = "") -> str:
    return f"{quote}{value[:SHOWN]}… ({len(value):,} characters){quote}"


class NothingFitsError(UserError):
    """No architecture of a space fits a budget.

    Attributes:
        most_macs: the most MACs that the budget allows; None where it does not bound them.
    """

    def __init__(self, message: str, most_macs: int | None) -> None:
        super().__init__(message)
        self.most_macs = most_macs


CLOSE: Final = 0.65
"""Similarity (`difflib`) from which a known name is proposed: 'cpu' is for 'gpu' (0.67), 'resnet' not for 'gridnet'
(0.62)."""
FEW: Final = 12
"""Known names in a message, where there are more than twice as many."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name.

    >>> nearest("mbcnov", ["mbconv", "resnet"])
    "; did you mean 'mbconv'?"
    >>> nearest("gridnet", ["mbconv", "resnet"])
    '; known: mbconv, resnet'
    >>> nearest("mine.py", ["mbconv", "resnet"])
    '; say which object of the file is meant: mine.py:NAME'
    """
    if str(name).endswith(".py"):
        return f"; say which object of the file is meant: {name}:NAME"
    known = sorted(names)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=CLOSE)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(known) - FEW} more" if len(known) > 2 * FEW else ""
    return f"; known: {', '.join(known[:FEW] if more else known)}{more}"
