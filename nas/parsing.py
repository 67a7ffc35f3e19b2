"""Texts that a person types, parsed: durations, and settings as `NAME=VALUE`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

from searchspaces import UserError, nearest

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str, option: str = "--time") -> float:
    """Seconds in `90`, `90s`, `30m`, `1h30m` or `2d`: a bare number alone, else each unit once, the largest first.

    Raises:
        UserError: the text has another form, or the duration is zero.

    >>> parse_duration("1h30m")
    5400.0
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    sizes = [_SECONDS[unit] for _, unit in parts]
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise UserError(f"{option}: {text!r} is not a duration such as 90s, 30m or 1h30m")
    if len(parts) > 1 and (not all(unit for _, unit in parts) or sizes != sorted(set(sizes), reverse=True)):
        each = "each number needs its own unit, largest first"
        raise UserError(f"{option}: {text!r} is not a duration such as 90s, 30m or 1h30m: {each}")
    seconds = math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds <= 0:
        raise UserError(f"{option}: must be longer than zero, got {text!r}")
    return seconds


def seconds_of(time: float | str | None, option: str = "time") -> float | None:
    """A duration as people write it, or seconds; None where there is none.

    Raises:
        UserError: it is no duration, or not longer than zero.
    """
    if isinstance(time, str):
        return parse_duration(time, option)
    if time is not None and not time > 0:  # NaN fails here too
        raise UserError(f"{option}: must be longer than zero, got {time!r}")
    return time


def parse_values(given: Iterable[str], example: str = "lr=0.05") -> dict[str, Any]:
    """Values by name from `--set NAME=VALUE`, repeated; a value is JSON, or a text without quotes.

    Args:
        given: the texts.
        example: of such a text, for the message.

    Raises:
        UserError: a text has no name or no `=`.

    >>> parse_values(["lr=0.05", "optimizer=adamw"])
    {'lr': 0.05, 'optimizer': 'adamw'}
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (equals and name):
            raise UserError(f"--set {text!r} does not look like {example!r}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def parse_targeted(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The same with a target before each name: settings of the strategy and of the estimator.

    Raises:
        UserError: a text has no name or no `=`, or its target is neither.

    >>> parse_targeted(["strategy.population=20", "estimator.epochs=8"])
    {'strategy': {'population': 20}, 'estimator': {'epochs': 8}}
    """
    found: dict[str, dict[str, Any]] = {"strategy": {}, "estimator": {}}
    for target, value in parse_values(given, "estimator.epochs=8").items():
        whose, _, name = target.partition(".")
        if whose not in found or not name:
            near = nearest(whose, found) if name else ""
            raise UserError(
                f"--set {target}: unknown target {whose!r}; use strategy.NAME=VALUE or estimator.NAME=VALUE{near}"
            )
        found[whose][name] = value
    return found
