"""Compound scaling: from factors on depth, width and image size to a family; and what else as many MACs would buy.

Tan & Le 2019, arXiv:1905.11946, sec. 3.3 (the formula) and 4 (the steps). Step 1, the search for α, β and γ, is a
study like any other, over `searchspaces.ScalingSpace`; step 2, α, β and γ to the power of φ, is here, with the curves
of the paper's figure 3: the base scaled in depth alone, width alone or resolution alone to the same MACs.

The published family is not quite its own formula: its factors are the ones that the authors' code states
(tensorflow/tpu, efficientnet_builder.py), and only near powers of 1.2, 1.1 and 1.15. That code also states a rate of
dropout for each, which `dropout` is a rule for, and the same stochastic depth of 0.2 for all: a setting of the recipe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NoReturn

from searchspaces import Factors, Scale, Scaled, Task, UserError, classic
from searchspaces.classics.mobile import B_SCALED

if TYPE_CHECKING:
    from searchspaces import Architecture, Cost, ScalingSpace

DIMENSIONS: Final = ("depth", "width", "resolution")
PUBLISHED: Final = Factors(1.2, 1.1, 1.15)
"""EfficientNet's, of which its family is said to be made (sec. 4)."""
MOST_DROPOUT: Final = 0.5
"""The largest rate of dropout that a family grows to: that of EfficientNet-B6 and B7."""
_LARGEST: Final = 1000.0
"""Of a factor on one dimension alone; a network that does not grow with it has no such curve."""


@dataclass(frozen=True)
class Member:
    """One network of a family.

    Attributes:
        phi: 0 for the base.
        factors: what the base's depth, width and image size are multiplied by.
        network: for images of its own size.
    """

    phi: float
    factors: Factors
    network: Scaled

    @cached_property
    def cost(self) -> Cost:
        """On one image of its own size."""
        return self.network.cost()

    def document(self) -> dict[str, Any]:
        """Its text form, with what it is in the family and what it costs."""
        said = {"phi": self.phi, "factors": asdict(self.factors), "costs": self.cost.told()}
        return {**json.loads(self.network.to_json()), **said}


def family(base: Scaled, factors: Factors, phis: Iterable[float]) -> list[Member]:
    """The base, and for each φ the base scaled by the factors to the power of φ."""
    own = base.dropout
    return [
        Member(0, Factors(), base),
        *(_member(base, phi, factors.power(phi), dropout(own, phi)) for phi in phis),
    ]


def published_family(base: Scaled, phis: Iterable[float]) -> list[Member]:
    """EfficientNet-B0 to B7, by the factors that the authors' code states.

    Raises:
        UserError: the base is another network, or there is no such member.
    """
    b0 = classic("efficientnet_b0")
    if base.network(b0.task) != b0.network() or base.task.image_size != b0.task.image_size:
        raise UserError("coefficients: the published ones are for efficientnet_b0 at 224 pixels; give three numbers")
    found = [Member(0, Factors(), base)]
    for phi in phis:
        if phi not in range(1, len(B_SCALED)):
            raise UserError(f"phi: published are 1 to {len(B_SCALED) - 1} (EfficientNet-B1 to B7), not {phi:g}")
        width, depth, size, dropout = B_SCALED[int(phi)]
        found.append(_member(base, phi, Factors(depth, width, size / base.task.image_size), dropout))
    return found


def dropout(own: float, phi: float) -> float:
    """The rate of dropout of member φ: 0.1 more than the base's for each two whole steps of φ, up to `MOST_DROPOUT`.

    So EfficientNet-B0 to B7 have theirs; a network without dropout stays without.

    >>> [dropout(0.2, phi) for phi in range(8)], dropout(0.0, 4)
    ([0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5], 0.0)
    """
    return max(own, min(round(own + 0.1 * (phi // 2), 9), MOST_DROPOUT)) if own else 0.0


def resnet_rs_factors(target: float, deeper: bool) -> Factors:
    """The factors of one step by the rules of ResNet-RS (Bello 2021, arXiv:2103.07579).

    Depth grows where a network is trained for so many epochs that it can overfit, width where it is not; the image
    grows slowly. By how much the paper does not say: here it is the mean growth over its own family, ResNet-RS-50 at
    160 pixels to ResNet-RS-420 at 320, which is 1.155 for twice the compute.

    Args:
        target: factor of compute.
        deeper: whether what the image leaves of it goes into depth, else into width.

    >>> resnet_rs_factors(2, deeper=True)
    Factors(depth=1.499255, width=1.0, resolution=1.154987)
    """
    small, large = classic("resnetrs50").cost(Task(160)), classic("resnetrs420").cost(Task(320))
    resolution = target ** (math.log(320 / 160) / math.log(large.macs / small.macs))
    rest = target / resolution**2
    depth, width = (rest, 1.0) if deeper else (1.0, math.sqrt(rest))
    return Factors(round(depth, 6), round(width, 6), round(resolution, 6))


def _member(base: Scaled, phi: float, factors: Factors, rate: float) -> Member:
    return Member(phi, factors, base.larger(factors).dropping(rate))


def alone(base: Scaled, dimension: str, macs: int) -> Member | None:
    """The base scaled in one dimension alone, to about so many MACs: the nearest that rounding allows.

    Args:
        base: what is scaled.
        dimension: one of `DIMENSIONS`.
        macs: at least the base's.

    Returns:
        None where the network does not grow so far, as one whose stages cannot be deeper.
    """

    def made(factor: float) -> Member:
        factors = Factors(**{dimension: round(factor, 4)})
        return Member(0, factors, base.larger(factors))

    low, high = 1.0, 2.0
    while made(high).cost.macs < macs:
        low, high = high, 2 * high
        if high > _LARGEST:
            return None
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if made(middle).cost.macs >= macs else (middle, high)
    return min(made(low), made(high), key=lambda each: abs(each.cost.macs - macs))


@dataclass(frozen=True)
class Candidates:
    """What of a grid of factors satisfies the constraint, by the formula and truly.

    Attributes:
        triples: in the whole grid.
        formula: those for which α·β²·γ² is within the band around the target, most even growth first.
        true: how many have true MACs within the band around the target times the base's.
        both: how many satisfy both.
        networks: the different networks of those that truly do, in the grid's order.
    """

    triples: int
    formula: tuple[Factors, ...]
    true: int
    both: int
    networks: tuple[Architecture, ...]


def candidates(space: ScalingSpace) -> Candidates:
    """Count and list what a scaling space has within its band."""
    budget, task = space.target_budget, space.base.task
    fits = {each: budget.admits(each.cost(task)) for each in space.enumerate()}
    triples = list(space.triples())
    formula = [each for each in triples if abs(each.formula / space.target - 1) <= space.band]
    true = {each for each in triples if fits[space.member(each)]}
    return Candidates(
        len(triples),
        tuple(sorted(formula, key=lambda each: (round(each.unevenness, 9), each))),
        len(true),
        len(true.intersection(formula)),
        tuple(each for each, inside in fits.items() if inside),
    )


def refuse_nothing(space: ScalingSpace) -> NoReturn:
    """Say which network is nearest to the band; for a space of which nothing fits.

    Raises:
        UserError: always; the message has the nearest triple of factors and its MACs relative to the base.
    """
    task, base = space.base.task, space.base.cost().macs
    near = min(space.enumerate(), key=lambda each: abs(each.cost(task).macs - space.target * base))
    also, more = "", ""
    if space.growth is not None:
        also, more = f" and at most {space.growth} times its other costs", " or more --growth"
    raise UserError(
        f"no factors in steps of {space.step:g} give {space.target:g} times the base's MACs within "
        f"{100 * space.band:g} %{also}; the nearest in MACs ({space.words(near)}) give "
        f"{near.cost(task).macs / base:.2f} times: a wider --band or a smaller --step{more} helps"
    )


def told_apart(space: ScalingSpace, networks: Iterable[Architecture], proxy: Mapping[str, Any]) -> int | None:
    """How many of some networks are still different as a proxy trains them; None where it does not say what it does.

    Args:
        space: of the networks.
        networks: some of its architectures.
        proxy: the description of an estimator.
    """
    data, width, depth = proxy.get("data"), proxy.get("width"), proxy.get("depth")
    if not isinstance(data, Mapping) or width is None or depth is None:
        return None
    task, scale = Task.parse(data["task"]), Scale(width, depth)
    return len({space.seen(each, task, scale) for each in networks})


def curves(members: Iterable[Member]) -> Iterator[tuple[str, list[Member]]]:
    """For each dimension, the base scaled in it alone to the MACs of each member, as far as that goes."""
    base, *larger = members
    for dimension in DIMENSIONS:
        found = [base]
        for each in larger:
            single = alone(base.network, dimension, each.cost.macs)
            if single is None:
                break
            found.append(Member(each.phi, single.factors, single.network))
        yield dimension, found
