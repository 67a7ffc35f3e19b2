"""How numbers are written on a screen: percentages, durations, counts, learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from searchspaces import Task

MACS_NOTE: Final = (
    "1 MAC = 1 multiply + 1 add. 400M MACs is what papers call 400M FLOPs or mult-adds; "
    "torch's own counter would print 800M."
)
"""Where a search begins and where costs are counted, since four tools print four numbers for one network."""

_BARS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 16, low: float = 0.0, high: float = 1.0) -> str:
    """The last `width` values of a curve, as one line of blocks on a fixed scale.

    >>> sparkline([0.0, 0.5, 0.9, 1.0])
    '▁▅██'
    """
    span = (high - low) or 1.0
    steps = (min(max((value - low) / span, 0.0), 1.0) for value in list(values)[-width:] if math.isfinite(value))
    return "".join(_BARS[min(int(step * len(_BARS)), len(_BARS) - 1)] for step in steps)


def duration(seconds: float) -> str:
    """A duration in at most two units.

    >>> duration(0.42), duration(8), duration(59.7), duration(75), duration(3700), duration(90000)
    ('0.42s', '8.0s', '1m', '1m 15s', '1h 1m', '1d 1h')
    """
    if seconds < 60 and round(seconds) < 60:
        return f"{seconds:.{2 if seconds < 1 else 1 if seconds < 10 else 0}f}s"
    whole = round(seconds)
    for unit, size, below, smaller in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{unit} {rest}{below}" if rest else f"{whole // size}{unit}"
    raise AssertionError(seconds)


def human(number: float) -> str:
    """A number in exactly three digits with a metric prefix; whole below a thousand.

    >>> human(385_814_752), human(10_000_000), human(3_504_872), human(28)
    ('386M', '10.0M', '3.50M', '28')
    """
    from searchspaces.cost import three_digits  # loads NumPy, which the help of a command does not need

    return three_digits(number)


def number_of(number: int, noun: str) -> str:
    """A number and what it counts.

    >>> number_of(1, "trial"), number_of(2000, "image")
    ('1 trial', '2,000 images')
    """
    from searchspaces.plural import number_of as written  # as `human`

    return written(number, noun)


def path_here(path: str) -> str:
    """A path as it is typed here: from the working directory, where that is above it.

    >>> path_here(str(Path.cwd() / "photos")), path_here("digits"), path_here("/mnt/photos")
    ('photos', 'digits', '/mnt/photos')
    """
    inside = Path(path).is_absolute() and Path(path).is_relative_to(Path.cwd())
    return str(Path(path).relative_to(Path.cwd())) if inside else path


def percent(share: float) -> str:
    """An accuracy, to the tenth of a percent.

    >>> percent(0.97832)
    '97.8%'
    """
    return f"{100 * share:.1f}%"


def given_and_seen(given: Task, seen: Task) -> dict[str, str]:
    """Of a document: the images that a network is given, and the larger ones that it makes of them, if it does.

    >>> from searchspaces import Task
    >>> given_and_seen(Task(8, 1, 10), Task(10, 1, 10)), given_and_seen(Task(), Task())
    ({'task': '8x8x1:10', 'enlarged': '10x10x1:10'}, {'task': '224x224x3:1000'})
    """
    larger = {} if seen.image_size == given.image_size else {"enlarged": str(seen)}
    return {"task": str(given), **larger}


def images_text(document: Mapping[str, Any]) -> str:
    """The images of such a document.

    >>> images_text({"task": "8x8x1:10", "enlarged": "10x10x1:10"}), images_text({"task": "8x8x1:10"})
    ('8x8x1:10, enlarged to 10x10x1:10', '8x8x1:10')
    """
    larger = document.get("enlarged")
    return str(document["task"]) if larger is None else f"{document['task']}, enlarged to {larger}"


def estimate_text(value: float, unit: str | None = None) -> str:
    """An estimate as its unit says: an accuracy in percent, the score that a value in [0, 1] stands for, or the value.

    >>> estimate_text(0.97832), estimate_text(0.5, "score, not accuracy")
    ('97.8%', '0')
    >>> estimate_text(0.21357, "training likelihood, not accuracy")
    '0.2136'
    """
    if unit is None:
        return percent(value)
    from estimators.scoring import SCORED, score_text

    return score_text(value) if unit == SCORED else f"{value:.4f}"


def within(accuracy: float | None, error: float | None, unit: str | None = None) -> str:
    """An estimate with its standard error, where that is known.

    >>> within(0.97832, 0.0085), within(0.97832, None)
    ('97.8% ± 0.9%', '97.8%')
    """
    if accuracy is None:
        return ""
    return estimate_text(accuracy, unit) + ("" if error is None else f" ± {error_text(error, unit)}")


def error_text(error: float, unit: str | None = None) -> str:
    """A standard error, in the unit of the estimate.

    >>> error_text(0.0085), error_text(0.0085, "training likelihood, not accuracy")
    ('0.9%', '0.0085')
    """
    return percent(error) if unit is None else f"{error:.4f}"


def estimate_name(unit: str | None) -> str:
    """What a column of estimates is called.

    >>> estimate_name(None), estimate_name("score, not accuracy")
    ('accuracy', 'score')
    """
    return "accuracy" if unit is None else unit.partition(",")[0]


def share(low: float, high: float) -> str:
    """A share known within bounds, with as many digits as needed.

    >>> share(0.0712, 0.0713), share(1.0, 1.0), share(3e-7, 3.1e-7), share(0.99996, 0.99997), share(0.001, 0.7)
    ('7.1%', '100%', '1 in 3.3e6', 'over 99.9%', 'at most 70.0%')
    """
    if _wide(low, high):
        return f"at most {share(high, high)}"
    middle = 50 * (low + high)
    if low >= 1:
        return "100%"
    if middle > 99.9:
        return "over 99.9%"
    if middle <= 0:
        return "0%"
    if middle < 0.01:
        return f"1 in {_brief(100 / middle)}"
    return f"{middle:.{max(1, -math.floor(math.log10(middle)))}f}%"


def about(low: float, high: float, draws: int) -> str:
    """A share estimated from draws, given its 95% interval.

    >>> about(0.13, 0.19, 400), about(0.0, 0.0096, 400), about(0.9904, 1.0, 400)
    ('about 16% (400 draws)', 'under 0.96% (none of 400 draws)', 'over 99% (all of 400 draws)')
    """
    if high >= 1:
        return f"over {100 * low:.2g}% (all of {draws} draws)"
    if low < 1e-9:
        return f"under {100 * high:.2g}% (none of {draws} draws)"
    return f"about {50 * (low + high):.2g}% ({draws} draws)"


def count(low: float, high: float | None = None) -> str:
    """A count known within bounds.

    >>> count(7962624), count(950, 950), count(3.1e15, 3.15e15), count(1, 2e12)
    ('7,962,624', '950', 'about 3.1e15', 'at most 2e12')
    """
    high = low if high is None else high
    if _wide(low, high):
        return f"at most {_count(high)}"
    first, last = _count(low), _count(high)
    return first if first == last else f"about {_brief((low + high) / 2)}"


def _wide(low: float, high: float) -> bool:
    """Whether only the upper bound is informative."""
    return high > 1.1 * low


def _count(number: float) -> str:
    return f"{int(number):,}" if number < 1e9 else _brief(number, 3)


def _brief(number: float, digits: int = 2) -> str:
    """A large number in a few digits.

    >>> _brief(3278688.5), _brief(1234.0), _brief(6.604e13)
    ('3.3e6', '1,234', '6.6e13')
    """
    return f"{number:,.0f}" if number < 1e5 else f"{number:.{digits}g}".replace("e+0", "e").replace("e+", "e")


def budget_text(budget: str | None, typed: str | None = None) -> str:
    """A budget, as documents have it, for a person; with what was typed, where that was in percent.

    >>> budget_text("macs=630091376..696416784"), budget_text(None), budget_text("macs=604995211", "60%")
    ('630M to 696M MACs', 'no budget', '605M MACs (60%)')
    """
    from searchspaces.cost import Budget  # as `human`

    words = Budget.parse(budget).words() if budget else "no budget"
    return f"{words} ({typed})" if budget and typed and "%" in typed else words


def ago(seconds: float) -> str:
    """How long ago something was, in one unit.

    >>> ago(0.3), ago(75), ago(7300), ago(200000)
    ('0s ago', '1m ago', '2h ago', '2d ago')
    """
    whole = max(int(seconds), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit} ago"
    return f"{whole}s ago"


def strides_text(rule: str, left_out: list[str]) -> str:
    """Which strides a network has on images of a size, and by which rule.

    >>> strides_text("small-images", ["stem", "stage2"])
    'left out in stem and stage2, since images of this size are too small to be halved there (small-images)'
    """
    from searchspaces.plural import listed  # as `human`

    if not left_out:
        return "as published" if rule == "published" else f"all kept on images of this size ({rule})"
    return f"left out in {listed(left_out)}, since images of this size are too small to be halved there ({rule})"


def ended_as(state: str, reason: str | None, more: str = "") -> str:
    """How a trial ended, in words: its state, what else there is to say of it, and the reason where there is one.

    >>> ended_as("pruned", "pruned: stopped after epoch 2"), ended_as("failed", "out of memory", ", again")
    ('pruned: stopped after epoch 2', 'failed, again: out of memory')
    """
    text = (reason or "").removeprefix(f"{state}: ")
    return state + more + (f": {text}" if text else "")
