"""A network at a size, and the space of all sizes of a network: depth, width and image size multiplied.

Compound scaling (Tan & Le 2019, arXiv:1905.11946, sec. 3.3): from a base network, factors depth α, width β and
resolution γ, each at least 1, are searched for at about `target` times the base's compute, which α·β²·γ² = target is a
formula for. Then α, β and γ to the power of φ give a family.

Rounding makes the formula lie: depths are rounded up, so that every stage of one block has two at α = 1.05; widths to
multiples of 8, and of the groups of convolutions; image sizes to even numbers. So the true MACs are what a budget here
bounds, and different factors may be one network: of those, the architecture has the ones that are nearest to the
formula, since the family's growth is the formula's in the end, where rounding matters less.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture
from searchspaces.budgeted.feasible import Feasible
from searchspaces.cost import Bound, Budget, Cost
from searchspaces.errors import UserError
from searchspaces.grammar import Decision, Grammar, Value
from searchspaces.layers import Chain, Dropout, Node, Resize, leaves
from searchspaces.mbconv import mbconv_space
from searchspaces.stage import Scale
from searchspaces.task import Task, enlarged

if TYPE_CHECKING:
    from torch import nn

MOST: Final = 50_000
"""Triples of factors in a space, at most: a step that makes more is too small."""

MOST_FACTOR: Final = 1000
"""Of a factor on a network's size, or on what it is divided by."""


@dataclass(frozen=True, slots=True, order=True)
class Factors:
    """What depth, width and image size are multiplied by: α, β and γ."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    @property
    def formula(self) -> float:
        """How much more compute that is, without any rounding: α·β²·γ².

        >>> round(Factors(1.2, 1.1, 1.15).formula, 4)  # EfficientNet's (sec. 4)
        1.9203
        """
        return self.depth * self.width**2 * self.resolution**2

    @property
    def unevenness(self) -> float:
        """How unlike the three shares of the growth are; 0 where depth, width and resolution add alike to it."""
        shares = math.log(self.depth), 2 * math.log(self.width), 2 * math.log(self.resolution)
        return max(shares) - min(shares)

    def power(self, phi: float) -> Factors:
        """The factors of a family's member φ."""
        return Factors(*(round(each**phi, 9) for each in (self.depth, self.width, self.resolution)))

    def __str__(self) -> str:
        return f"{self.depth:g}, {self.width:g}, {self.resolution:g}"


@dataclass(frozen=True, slots=True)
class Scaled:
    """An architecture scaled, and the task that this size is for.

    Attributes:
        architecture: what is scaled; at factors of 1 the network is its own.
        scale: factors on width and depth, and the rate of dropout.
        task: images and classes; the image size is the third dimension of scaling.

    Raises:
        UserError: a factor is not a number above 0, or dropout none in [0, 1).

    >>> from searchspaces import classic, network_from_json
    >>> b0 = classic("efficientnet_b0").architecture
    >>> b2 = Scaled(b0, Scale(width=1.1, depth=1.2), Task(260))
    >>> b2.cost().params, network_from_json(b2.to_json()) == b2
    (9109994, True)
    """

    architecture: Architecture
    scale: Scale
    task: Task

    def __post_init__(self) -> None:
        for name, factor in asdict(self.scale).items():
            number = isinstance(factor, int | float) and not isinstance(factor, bool)
            if name == "dropout":
                if factor is not None and not (number and 0 <= factor < 1):
                    raise UserError(f"scale: dropout must be a number of at least 0 and below 1, got {factor!r}")
            elif not number or not 0 < factor < math.inf:
                raise UserError(f"scale: {name} must be a number above 0, got {factor!r}")
            elif not 1 / MOST_FACTOR <= factor <= MOST_FACTOR:
                raise UserError(f"scale: {name} must be from {1 / MOST_FACTOR:g} to {MOST_FACTOR:,}, got {factor:g}")

    @property
    def paper(self) -> None:
        """It was not published."""

    @property
    def dropout(self) -> float:
        """The rate of its last layer of dropout, before the classifier; 0 where it has none."""
        return last_dropout(self.network(), self.task)

    def dropping(self, rate: float) -> Scaled:
        """The same with another rate of dropout before the classifier; itself where its head takes none."""
        made = replace(self, scale=replace(self.scale, dropout=rate))
        return made if self.dropout != rate and made.dropout == rate else self

    def network(self, task: Task | None = None) -> Node:
        """The tree of layers, for its own task by default."""
        return self.architecture.network(task or self.task, self.scale)

    def cost(self, task: Task | None = None) -> Cost:
        """What it costs on one image, of its own task by default."""
        return self.architecture.cost(task or self.task, self.scale)

    def build(self, task: Task | None = None, drop_path: float = 0.0, auxiliary: bool = False) -> nn.Module:
        """A fresh torch module from images (batch, channels, height, width) to logits (batch, classes)."""
        return self.architecture.build(task or self.task, self.scale, drop_path, auxiliary)

    def larger(self, factors: Factors) -> Scaled:
        """The same architecture, its factors and its image size multiplied.

        >>> from searchspaces import classic
        >>> b0 = Scaled(classic("efficientnet_b0").architecture, Scale(), Task())
        >>> b0.larger(Factors(1.4, 1.2, 300 / 224)).cost().params  # EfficientNet-B3
        12233232
        """
        task = self.task.enlarged(factors.resolution)
        scale = Scale(
            round(self.scale.width * factors.width, 9),
            round(self.scale.depth * factors.depth, 9),
            task.image_size / self.scale.unscaled(self.task.image_size),
            self.scale.dropout,
        )
        return Scaled(self.architecture, scale, task)

    def to_json(self) -> str:
        """Its text form: the architecture's, and `scale` and `task`."""
        return json.dumps(
            {**json.loads(self.architecture.to_json()), "scale": self.scale.told(), "task": str(self.task)}
        )

    def words(self) -> str:
        """One line for a person."""
        said = self.architecture.words()
        if self.scale == Scale():
            return said
        dropout = "" if self.scale.dropout is None else f", dropout {self.scale.dropout:g}"
        return f"{said} | width x {self.scale.width:g}, depth x {self.scale.depth:g}{dropout}"


def last_dropout(node: Node, task: Task) -> float:
    """The rate of a network's last layer of dropout; 0 where it has none."""
    rates = [leaf.rate for leaf, _ in leaves(node, task.shape) if isinstance(leaf, Dropout)]
    return float(rates[-1]) if rates else 0.0


class ScalingSpace:
    """A network at other sizes: three decisions, what its depth, width and image size are multiplied by.

    An architecture's network looks at the images of a task `resolution` times as large, whatever the task: so that a
    proxy, on smaller images, sees what the resolution does as well.

    Args:
        base: what is scaled, and the deployment task.
        target: how much more compute is meant; it bounds the factors, and says which of several that are one network
            an architecture has.
        step: between the options of each factor.
        band: share of the target by which true MACs may differ from it, in `target_budget`.
        growth: bounds on other costs there, as multiples of the base's, such as `params=1.8,activations=1.6`
            (EfficientNet's target memory; Tan & Le 2019, eq. 2).

    Raises:
        UserError: a setting is out of range.
    """

    name = "scaling"

    def __init__(
        self, base: Scaled, target: float = 2.0, step: float = 0.05, band: float = 0.05, growth: str | None = None
    ) -> None:
        for said, value, low, high in (("target", target, 1, 100), ("step", step, 0, 1), ("band", band, 0, 1)):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low < value <= high:
                raise UserError(f"scaling: {said} must be a number above {low} and at most {high}, got {value!r}")
        self.base, self.target, self.step, self.band = base, float(target), float(step), float(band)
        if growth is not None and not isinstance(growth, str):
            raise UserError(f"scaling: growth must be a text such as 'params=1.8,activations=1.6', got {growth!r}")
        self.growth = None if growth is None else _growth(growth)
        kinds: dict[str, tuple[float, Callable[[float], object]]] = {
            "depth": (1, lambda factor: self._tree(Scale(depth=factor))),
            "width": (2, lambda factor: self._tree(Scale(width=factor))),
            "resolution": (2, lambda factor: enlarged(base.task.image_size, factor)),
        }
        if math.prod((target ** (1 / power) - 1) / step + 1 for power, _ in kinds.values()) > MOST:
            raise UserError(
                f"scaling: a step of {step:g} gives more than {MOST:,} triples of factors: use a larger step"
            )
        self.decisions: tuple[Decision, ...] = tuple(
            Decision(name, self._options(name, power)) for name, (power, _) in kinds.items()
        )
        self.grammar = Grammar(self.decisions, _always)
        alike = [_alike(decision.options, kinds[decision.name][1]) for decision in self.decisions]
        self._alike = [{option: options for options in several for option in options} for several in alike]
        self._different = [tuple(options[0] for options in several) for several in alike]
        self._chosen: dict[tuple[Value, ...], Architecture] = {}

    def _tree(self, scale: Scale) -> Node:
        return self.base.larger(Factors(scale.depth, scale.width)).network(self.base.task)

    def _options(self, name: str, power: float) -> tuple[float, ...]:
        """From 1 as far as one factor alone stays within the target, by the formula or (if not far off) true MACs."""
        most, macs = self.target * (1 + self.band), self.base.cost().macs
        found = [1.0]
        while True:
            factor = round(1 + len(found) * self.step, 9)
            alone = self.base.larger(Factors(**{name: factor})).cost().macs
            if factor**power > most and (alone > most * macs or factor**power > most**1.5):
                return tuple(found)
            found.append(factor)

    @property
    def doc(self) -> str:
        """A line for a person."""
        return "a network's depth, width and image size multiplied; EfficientNet-B0's here, any with `nas scale`"

    @property
    def size(self) -> int:
        """How many architectures it holds: different networks on the deployment task."""
        return math.prod(map(len, self._different))

    budget = task = largest = None

    @property
    def whole(self) -> ScalingSpace:
        """Itself: it has no budget."""
        return self

    @property
    def target_budget(self) -> Budget:
        """True MACs within the band around the target, and other costs within their growth."""
        low, high = (self.target * side * self.base.cost().macs for side in (1 - self.band, 1 + self.band))
        bounds = [Bound("macs", Decimal(math.floor(high)), Decimal(math.ceil(low)))]
        for each in () if self.growth is None else self.growth.bounds:
            own = self.base.cost().whole(each.cost)
            bounds.append(Bound(each.cost, each.upper * own // 1, each.lower * own))
        return Budget(tuple(bounds))

    @property
    def of(self) -> dict[str, Any]:
        """The base and the settings, as JSON values; `searchspaces.text_forms.space_of` reads them."""
        settings = {"target": self.target, "step": self.step, "band": self.band}
        growth = {} if self.growth is None else {"growth": str(self.growth)}
        return {**json.loads(self.base.to_json()), **settings, **growth}

    @cached_property
    def references(self) -> dict[str, Architecture]:
        """The base, where it is a classic network."""
        if self.base.scale != Scale():
            return {}
        known = self.base.architecture.space.references.items()
        return {name: self.member(Factors()) for name, each in known if each == self.base.architecture}

    def describe(self) -> dict[str, Any]:
        """What the space is, as JSON: two spaces with equal descriptions hold the same architectures."""
        return {"name": self.name, "of": self.of, "home": self.base.architecture.space.describe()}

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The architecture of three factors; of those that are the same network it has the nearest to the formula.

        Raises:
            UserError: if a decision is unknown or missing, or a value is not among its options.
        """
        return self._canonical(tuple(value for _, value in self.grammar.canonical(choices)))

    def member(self, factors: Factors) -> Architecture:
        """The architecture of three factors, which must be among the options."""
        return self.architecture({"depth": factors.depth, "width": factors.width, "resolution": factors.resolution})

    def _canonical(self, values: tuple[Value, ...]) -> Architecture:
        if values not in self._chosen:
            several = [alike[value] for alike, value in zip(self._alike, values, strict=True)]
            nearest = min(itertools.product(*several), key=self._from_formula)
            names = (decision.name for decision in self.decisions)
            self._chosen[values] = Architecture(self, (tuple(zip(names, nearest, strict=True)),))
        return self._chosen[values]

    def _from_formula(self, values: tuple[Any, ...]) -> tuple[float, Factors]:
        factors = Factors(*values)
        return round(abs(math.log(factors.formula / self.target)), 9), factors

    @staticmethod
    def factors(architecture: Architecture) -> Factors:
        """The three factors of an architecture."""
        return Factors(**{name: float(value) for name, value in architecture.choices.items()})

    def scaled(self, architecture: Architecture, phi: float = 1) -> Scaled:
        """The base scaled so, for images of its own size; with φ, by the factors to that power."""
        return self.base.larger(self.factors(architecture).power(phi))

    def network(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Node:
        """The tree of layers: of the base scaled, on the images of a task enlarged."""
        tree, _ = self.seen(architecture, task, scale)
        resolution = self.factors(architecture).resolution
        if resolution == 1:
            return tree
        return Chain(Resize(resolution), *(tree.children() if isinstance(tree, Chain) else [tree]))

    def seen(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> tuple[Node, int]:
        """The base scaled, and the side in pixels of the images that it sees: all that a network on a task is."""
        factors = self.factors(architecture)
        larger = task.enlarged(factors.resolution)
        return self.base.architecture.network(larger, self._scale(factors, scale, task)), larger.image_size

    def cost(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Cost:
        """What it costs on one image of the task."""
        factors = self.factors(architecture)
        cost = self.base.architecture.cost(task.enlarged(factors.resolution), self._scale(factors, scale, task))
        return cost if factors.resolution == 1 else Resize(factors.resolution).cost(task.shape) + cost

    def _scale(self, factors: Factors, scale: Scale, task: Task) -> Scale:
        """Of the base's architecture, where a network is scaled besides, as a proxy does it."""
        grown = replace(self.base, task=task).larger(factors).scale
        width, depth = grown.width * scale.width, grown.depth * scale.depth
        return replace(grown, width=width, depth=depth, resolution=grown.resolution * scale.resolution)

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""
        factors = self.factors(architecture)
        side = enlarged(self.base.task.image_size, factors.resolution)
        return f"depth x {factors.depth:g} | width x {factors.width:g} | image x {factors.resolution:g}: {side}"

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, each equally likely."""
        return self._canonical(tuple(several[rng.integers(len(several))] for several in self._different))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """One factor changed so much that the network differs; both drawn uniformly.

        Raises:
            UserError: if the space holds a single network.
        """
        open_to = [index for index, several in enumerate(self._different) if len(several) > 1]
        if not open_to:
            raise UserError("nothing can be mutated: the space holds a single network")
        values, index = [*architecture.choices.values()], open_to[rng.integers(len(open_to))]
        others = [each for each in self._different[index] if each not in self._alike[index][values[index]]]
        values[index] = others[rng.integers(len(others))]
        return self._canonical(tuple(values))

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first decision that is open after a prefix of choices; several ways may lead to one architecture."""
        return self.grammar.open(prefix)

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision; shape (3,)."""
        return self.grammar.encode(architecture.choices)

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """What `encode` was given."""
        return self.architecture(self.grammar.decode(vector))

    def enumerate(self) -> Iterator[Architecture]:
        """All of it, those first whose depth, width and resolution grow alike."""
        members = map(self._canonical, itertools.product(*self._different))
        return iter(sorted(members, key=lambda each: (round(self.factors(each).unevenness, 9), self.factors(each))))

    def triples(self) -> Iterator[Factors]:
        """All triples of options, whether or not several are one network."""
        return (Factors(*values) for values in itertools.product(*(each.options for each in self.decisions)))  # type: ignore[arg-type]

    def under(self, budget: Budget, task: Task = Task()) -> Feasible:
        """The part of the space that fits a budget on a task.

        Raises:
            UserError: if nothing fits; the message has the space's smallest cost.
        """
        return Feasible(self, budget, task)

    def __contains__(self, architecture: object) -> bool:
        if not isinstance(architecture, Architecture) or architecture.space != self:
            return False
        try:
            return self.architecture(architecture.choices) == architecture
        except UserError:
            return False

    def _values(self) -> tuple[object, ...]:
        return (self.base, self.target, self.step, self.band, self.growth)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, ScalingSpace) and self._values() == other._values())

    def __hash__(self) -> int:
        return hash((self.name, self.target, self.step))

    def __repr__(self) -> str:
        return f"ScalingSpace({self.base.architecture.space.name}, {self.size:,} architectures)"


def scaling_space() -> ScalingSpace:
    """The space `scaling`: sizes of EfficientNet-B0."""
    return ScalingSpace(Scaled(mbconv_space().references["efficientnet_b0"], Scale(), Task()))


def _growth(text: str) -> Budget:
    """Read multiples of the base's costs.

    Raises:
        UserError: it is no budget, or bounds what cannot be.
    """
    found = Budget.parse(text)
    for each in found.bounds:
        if each.cost in ("macs", "latency_ms") or each.percent or not 1 <= each.upper <= 100:
            raise UserError(
                f"growth: {each} cannot be; give multiples of the base's costs from 1 to 100, as in "
                "params=1.8,activations=1.6 (MACs follow from the target)"
            )
    return found


def _always(name: str, taken: Mapping[str, Value]) -> bool:
    return True


def _alike(options: tuple[Any, ...], made: Callable[[Any], object]) -> list[tuple[Any, ...]]:
    """The options of a factor, those together from which the same is made."""
    found: dict[object, list[Any]] = {}
    for option in options:
        found.setdefault(made(option), []).append(option)
    return [tuple(several) for several in found.values()]
