"""What a network costs, and the budgets that bound it.

One MAC is one multiply and one add in a convolution, a linear layer or a matrix product, without bias. Papers call
this number "FLOPs" or "mult-adds"; torch's own counter prints twice as much. Normalisation, activation and pooling
count nothing, as in the papers' tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from searchspaces.errors import UserError, nearest

COSTS: Final = ("macs", "params", "activations", "peak_activation_bytes")
ADDITIVE_COSTS: Final = ("macs", "params", "activations")
"""Costs of a chain that are the sums of its parts' costs; the peak is their largest."""

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one network costs on one image.

    Attributes:
        macs: multiply-adds of convolutions, linear layers and matrix products, without bias.
        params: trained numbers: weights, biases, scales and shifts of norms; not running statistics.
        activations: numbers put out by convolutions (`acts` in pycls; Radosavovic 2020, arXiv:2003.13678, sec. 3.1).
        peak_activation_bytes: most bytes of feature maps alive at once in float32, at inference, layers run in the
            order they are written, each map freed after its last use; norms, activations, dropout and sums in place.

    >>> Cost(10, 2, 4, 64) + Cost(1, 1, 1, 128)
    Cost(macs=11, params=3, activations=5, peak_activation_bytes=128)
    """

    macs: int = 0
    params: int = 0
    activations: int = 0
    peak_activation_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        """The cost of one network after the other."""
        return Cost(
            self.macs + other.macs,
            self.params + other.params,
            self.activations + other.activations,
            max(self.peak_activation_bytes, other.peak_activation_bytes),
        )


def human(number: float) -> str:
    """Three digits and a unit.

    >>> human(385_814_752), human(1_234_567_890), human(950), human(2.5e16)
    ('386M', '1.23G', '950', '2.5e16')
    """
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= 1e16:
            return f"{number:.3g}".replace("e+", "e")
        if float(f"{number:.3g}") >= size:
            return f"{float(f'{number / size:.3g}'):g}{unit}"
    return f"{number:.3g}"


@dataclass(frozen=True, slots=True)
class Bound:
    """Limits on one cost, both inclusive; in percent of the space's largest until the budget is resolved.

    Attributes:
        cost: one of `COSTS`.
        upper: the most it may be.
        lower: the least it may be; 0 when open.
        percent: whether `upper` and `lower` are percent of the largest cost in a space.
    """

    cost: str
    upper: Decimal
    lower: Decimal = Decimal(0)
    percent: bool = False

    def __str__(self) -> str:
        ends = [f"{_plain(end)}{'%' if self.percent else ''}" for end in (self.lower, self.upper)]
        return f"{self.cost}={'..'.join(ends) if self.lower else ends[1]}"


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper, and optionally lower, bounds on costs.

    Attributes:
        bounds: one for each bounded cost.

    >>> budget = Budget.parse("360M..400M,params=5.3M")
    >>> str(budget)
    'macs=360M..400M,params=5.3M'
    >>> budget.admits(Cost(macs=385_814_752, params=5_288_548))
    True
    >>> Budget.parse(str(budget)) == budget
    True
    """

    bounds: tuple[Bound, ...]

    @staticmethod
    def parse(text: str) -> Budget:
        """Read `400M`, `360M..400M`, `60%` (of the space's largest) or `macs=400M,params=5.3M`.

        A bare number bounds the MACs. Units: K, M, G (or B), T.

        Raises:
            UserError: if a part has another form, a bound is not positive or a cost is bounded twice.
        """
        bounds: dict[str, Bound] = {}
        for part in text.split(","):
            name, equals, limits = part.strip().rpartition("=")
            name = name.strip().replace("-", "_") if equals else "macs"
            if name not in COSTS:
                raise UserError(f"budget: unknown cost {name!r}{nearest(name, COSTS)}")
            if name in bounds:
                raise UserError(f"budget: {name} is bounded twice in {text!r}")
            ends = [_number(end, text) for end in limits.split("..")]
            if len(ends) > 2 or len({percent for _, percent in ends}) > 1:
                raise UserError(f"budget: {part.strip()!r} does not look like '360M..400M'")
            values = [value for value, _ in ends]
            if len(values) == 2 and values[0] > values[1]:
                raise UserError(f"budget: the lower bound of {part.strip()!r} is above the upper one")
            lower = values[0] if len(values) == 2 else Decimal(0)
            bounds[name] = Bound(name, values[-1], lower, percent=ends[0][1])
        return Budget(tuple(bounds.values()))

    @property
    def in_percent(self) -> bool:
        """Whether a bound still waits for the space's largest cost."""
        return any(bound.percent for bound in self.bounds)

    def resolved(self, largest: dict[str, int]) -> Budget:
        """The same budget with percents turned into numbers, rounded down.

        Args:
            largest: each cost's largest value in the space.
        """
        bounds = (
            Bound(
                bound.cost,
                Decimal(int(bound.upper * largest[bound.cost] / 100)),
                Decimal(int(bound.lower * largest[bound.cost] / 100)),
            )
            if bound.percent
            else bound
            for bound in self.bounds
        )
        return Budget(tuple(bounds))

    def admits(self, cost: Cost) -> bool:
        """Whether every bounded cost lies within its bounds; both ends belong to the budget."""
        assert not self.in_percent, "a budget in percent must be resolved against a space first"
        return all(bound.lower <= getattr(cost, bound.cost) <= bound.upper for bound in self.bounds)

    def __str__(self) -> str:
        return ",".join(map(str, self.bounds))


def _number(text: str, whole: str) -> tuple[Decimal, bool]:
    """A positive number with its unit, and whether it is a percentage."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGBT]?|%)\s*", text, re.IGNORECASE)
    if not match:
        raise UserError(f"budget: {text.strip()!r} in {whole!r} is not a number such as 400M, 5.3M, 1.2G or 60%")
    percent = match[2] == "%"
    value = Decimal(match[1]) * (1 if percent else _UNITS[match[2].upper()])
    if value <= 0 or (percent and value > 100):
        raise UserError(f"budget: {text.strip()!r} must be above 0" + (" and at most 100%" if percent else ""))
    return value, percent


def _plain(value: Decimal) -> str:
    """The shortest text that reads back as the same number."""
    for unit in ("G", "M", "K"):
        scaled = value / _UNITS[unit]
        if value >= _UNITS[unit] and scaled * _UNITS[unit] == value and len(str(scaled.normalize())) <= 7:
            return f"{scaled.normalize():f}{unit}"
    return f"{value.normalize():f}"
