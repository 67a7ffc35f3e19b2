"""What a network costs, and the budgets that bound it.

One MAC is one multiply and one add in a convolution, a linear layer or a matrix product, without bias. Papers call
this number "FLOPs" or "mult-adds"; torch's own counter prints twice as much. Normalization, activation and pooling
count nothing, as in the papers' tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from searchspaces.errors import UserError, nearest

COSTS: Final = ("macs", "params", "activations", "peak_activation_bytes", "latency_ms")
"""Names of costs; `latency_ms` only where a latency table tells it."""
ADDITIVE_COSTS: Final = ("macs", "params", "activations", "latency_ms")
"""Costs of a chain that are the sums of its parts' costs; the peak is their largest."""
WHOLES: Final = {"latency_ms": 1000}
"""Costs that are counted in a finer unit than they are told in, and how many of it make one: whole microseconds."""
COSTS_IN_WORDS: Final = {
    "macs": "MACs",
    "params": "parameters",
    "peak_activation_bytes": "bytes of activations",
    "latency_ms": "ms",
}
"""Costs for a person, after a number."""

UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
"""Units of numbers, and what they stand for."""
MOST: Final = 10**15
"""No bound is so large: costs are counted in 64 bits."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one network costs on one image.

    Attributes:
        macs: multiply-adds of convolutions, linear layers and matrix products, without bias.
        params: trained numbers: weights, biases, scales and shifts of norms; not running statistics.
        activations: numbers put out by convolutions (`acts` in pycls; Radosavovic 2020, arXiv:2003.13678, sec. 3.1).
        peak_activation_bytes: most bytes of feature maps alive at once in float32, at inference, layers run in the
            order they are written, each map freed after its last use; norms, activations, dropout and sums in place.
        latency_us: what a latency table says it takes on a device; None where there is none, or not all is in it.

    >>> Cost(10, 2, 4, 64) + Cost(1, 1, 1, 128)
    Cost(macs=11, params=3, activations=5, peak_activation_bytes=128, latency_us=None)
    >>> Cost(latency_us=8400).latency_ms
    8.4
    """

    macs: int = 0
    params: int = 0
    activations: int = 0
    peak_activation_bytes: int = 0
    latency_us: int | None = None

    def __add__(self, other: Cost) -> Cost:
        """The cost of one network after the other."""
        return Cost(
            self.macs + other.macs,
            self.params + other.params,
            self.activations + other.activations,
            max(self.peak_activation_bytes, other.peak_activation_bytes),
            None if self.latency_us is None or other.latency_us is None else self.latency_us + other.latency_us,
        )

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds; None where they are not known."""
        return None if self.latency_us is None else self.latency_us / WHOLES["latency_ms"]

    def whole(self, name: str) -> int:
        """A cost in `COSTS` as the whole number that is summed and compared; of one that is known."""
        value: int | None = self.latency_us if name == "latency_ms" else getattr(self, name)
        assert value is not None, f"{name} is not known"
        return value

    @staticmethod
    def of(wholes: Mapping[str, int]) -> Cost:
        """The cost of these `whole` numbers, by name."""
        return Cost(**{"latency_us" if name == "latency_ms" else name: value for name, value in wholes.items()})

    def told(self) -> dict[str, int | float]:
        """What is known, by name: for files and JSON."""
        known = {name: getattr(self, name) for name in COSTS}
        return {name: value for name, value in known.items() if value is not None}


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


def three_digits(number: float) -> str:
    """A number as `human`, but in exactly three digits, for columns and lines of several; whole below a thousand.

    >>> three_digits(385_814_752), three_digits(10_000_000), three_digits(3_504_872), three_digits(28)
    ('386M', '10.0M', '3.50M', '28')
    """
    text = human(number)
    digits, unit = text[:-1], text[-1]
    if unit not in "KMGT" or len(digits.replace(".", "")) > 2:
        return text
    return f"{float(digits):.{3 - len(digits.partition('.')[0])}f}{unit}"


def said(name: str, whole: int) -> str:
    """A cost for a person, in the unit of its name.

    >>> said("macs", 385_814_752), said("latency_ms", 8_412), said("latency_ms", 100_400)
    ('386M', '8.41', '100')
    """
    return human(whole / WHOLES.get(name, 1))


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

    @property
    def most(self) -> int:
        """The most that the cost's `whole` number may be."""
        return int((self.upper * WHOLES.get(self.cost, 1)).to_integral_value(ROUND_FLOOR))

    @property
    def least(self) -> int:
        """The least that it may be."""
        return int((self.lower * WHOLES.get(self.cost, 1)).to_integral_value(ROUND_CEILING))

    def words(self) -> str:
        """The bound for a person: `360M to 400M MACs`."""
        name = COSTS_IN_WORDS.get(self.cost, self.cost)
        ends = [float(each) for each in (self.lower, self.upper) if each]
        if self.percent:
            return f"{' to '.join(f'{each:g}%' for each in ends)} of the largest {name}"
        return f"{' to '.join(map(human, ends))} {name}"

    def __str__(self) -> str:
        plain = _plain if self.cost not in WHOLES else lambda end: f"{end.normalize():f}"
        ends = [f"{plain(end)}{'%' if self.percent else ''}" for end in (self.lower, self.upper)]
        return f"{self.cost}={'..'.join(ends) if self.lower else ends[1]}"


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper, and optionally lower, bounds on costs.

    Attributes:
        bounds: one for each bounded cost.
        typed: the text that it was read from, if any; two budgets that mean the same are equal without it.

    >>> budget = Budget.parse("360M..400M,params=5.3M")
    >>> str(budget)
    'macs=360M..400M,params=5.3M'
    >>> budget.admits(Cost(macs=385_814_752, params=5_288_548))
    True
    >>> Budget.parse(str(budget)) == budget
    True
    """

    bounds: tuple[Bound, ...]
    typed: str | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def parse(text: str) -> Budget:
        """Read `400M`, `360M..400M`, `60%` (of the space's largest), `macs=400M,params=5.3M` or `8ms`.

        A bare number bounds the MACs, one in `ms` the latency. Units: K, M, G (or B), T.

        >>> str(Budget.parse("400M,5..8ms"))
        'macs=400M,latency_ms=5..8'

        Raises:
            UserError: if a part has another form, a bound is not positive or a cost is bounded twice.
        """
        bounds: dict[str, Bound] = {}
        if re.fullmatch(r"\s*\d{1,3}(,\d{3})+\s*", text):
            meant = _plain(Decimal(re.sub(r"\D", "", text)))
            raise UserError(f"budget: {text.strip()!r} has commas, which separate bounds; did you mean {meant}?")
        for part in text.split(","):
            if not part.strip() and text.strip():
                raise UserError(f"budget: empty entry in {text!r}")
            name, equals, limits = part.strip().rpartition("=")
            in_ms = limits.rstrip().endswith("ms")
            name = name.strip().replace("-", "_") if equals else "latency_ms" if in_ms else "macs"
            if name not in COSTS:
                raise UserError(f"budget: unknown cost {name!r}{nearest(name, COSTS)}")
            if name in bounds:
                raise UserError(f"budget: {name} is bounded twice in {text!r}")
            if in_ms and name == "latency_ms":
                limits = re.sub(r"(?<=\d)\s*ms\s*(?=\.\.|$)", "", limits.rstrip())
            ends = [_number(end, text, bare=name in WHOLES) for end in limits.split("..")]
            if len(ends) > 2 or len({percent for _, percent in ends}) > 1:
                raise UserError(f"budget: {part.strip()!r} does not look like '360M..400M'")
            values = [value for value, _ in ends]
            if len(values) == 2 and values[0] > values[1]:
                raise UserError(f"budget: the lower bound of {part.strip()!r} is above the upper one")
            lower = values[0] if len(values) == 2 else Decimal(0)
            bounds[name] = Bound(name, values[-1], lower, percent=ends[0][1])
        return Budget(tuple(bounds.values()), text.strip())

    @property
    def in_percent(self) -> bool:
        """Whether a bound still waits for the space's largest cost."""
        return any(bound.percent for bound in self.bounds)

    def resolved(self, largest: dict[str, int]) -> Budget:
        """The same budget with percents turned into numbers, rounded down.

        Args:
            largest: each cost's largest value in the space, as a `whole` number.
        """

        def number(bound: Bound, percent: Decimal) -> Decimal:
            return Decimal(int(percent * largest[bound.cost] / 100)) / WHOLES.get(bound.cost, 1)

        bounds = (
            Bound(each.cost, number(each, each.upper), number(each, each.lower)) if each.percent else each
            for each in self.bounds
        )
        return Budget(tuple(bounds))

    def admits(self, cost: Cost) -> bool:
        """Whether every bounded cost lies within its bounds; both ends belong to the budget."""
        assert not self.in_percent, "a budget in percent must be resolved against a space first"
        return all(bound.least <= cost.whole(bound.cost) <= bound.most for bound in self.bounds)

    def words(self) -> str:
        """The budget for a person.

        >>> Budget.parse("360M..400M,params=5.3M").words(), Budget.parse("8ms").words(), Budget.parse("60%").words()
        ('360M to 400M MACs and 5.3M parameters', '8 ms', '60% of the largest MACs')
        """
        return " and ".join(bound.words() for bound in self.bounds)

    def limits(self) -> str:
        """The budget for a person, in a sentence.

        >>> Budget.parse("400M").limits(), Budget.parse("360M..400M,params=5.3M").limits()
        ('at most 400M MACs', '360M to 400M MACs and at most 5.3M parameters')
        """
        return " and ".join(f"{'' if bound.lower else 'at most '}{bound.words()}" for bound in self.bounds)

    def told_of(self, cost: Cost) -> str:
        """The costs of a network that are bounded, for a person.

        >>> Budget.parse("400M,params=5M").told_of(Cost(macs=385_814_752, params=5_288_548))
        '385,814,752 MACs and 5,288,548 parameters'
        """
        return " and ".join(
            f"{cost.whole(each.cost) / WHOLES.get(each.cost, 1):,.10g} {COSTS_IN_WORDS.get(each.cost, each.cost)}"
            for each in self.bounds
        )

    def __str__(self) -> str:
        return ",".join(map(str, self.bounds))


def _number(text: str, whole: str, bare: bool) -> tuple[Decimal, bool]:
    """A positive number with its unit, and whether it is a percentage.

    Args:
        text: the number.
        whole: the budget that it is in.
        bare: whether its unit is in the name of the cost already.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGBT]?|%)\s*", text, re.IGNORECASE)
    if bare and (not match or match[2] not in ("", "%")):
        raise UserError(f"budget: {text.strip()!r} in {whole!r} is not a number of milliseconds such as 8, 7.5 or 60%")
    if not match and not text.strip() and ".." in whole:
        raise UserError(f"budget: {whole!r} lacks an end; give both, as in 360M..400M, or the upper one, as in 400M")
    if not match:
        low, hyphen, high = text.strip().partition("-")
        meant = f"; did you mean {low}..{high}?" if hyphen and low[:1].isdecimal() and high[:1].isdecimal() else ""
        raise UserError(f"budget: {text.strip()!r} in {whole!r} is not a number such as 400M, 5.3M, 1.2G or 60%{meant}")
    percent = match[2] == "%"
    value = Decimal(match[1]) * (1 if percent else UNITS[match[2].upper()])
    if value >= MOST:
        raise UserError(f"budget: {text.strip()[:40]!r} is too large, it must be below {human(MOST)}")
    if value <= 0 or (percent and value > 100):
        raise UserError(f"budget: {text.strip()!r} must be above 0" + (" and at most 100%" if percent else ""))
    return value, percent


def _plain(value: Decimal) -> str:
    """The shortest text that reads back as the same number."""
    for unit in ("G", "M", "K"):
        scaled = value / UNITS[unit]
        if value >= UNITS[unit] and scaled * UNITS[unit] == value and len(str(scaled.normalize())) <= 7:
            return f"{scaled.normalize():f}{unit}"
    return f"{value.normalize():f}"
