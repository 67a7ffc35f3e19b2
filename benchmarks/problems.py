"""What `regret.py` searches: two recorded tables, and problems whose accuracies are drawn at random.

The drawn ones have no training behind them. Settings are chosen on instances from `TUNING` on, whose names begin with
`tune-`, and reported on the first ones, so that nothing is reported on what it was chosen on.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from searchspaces import (
    Architecture,
    Budget,
    SearchSpace,
    Space,
    Stage,
    Task,
    choice,
    conv_head,
    conv_stem,
    load_object,
    mbconv,
    per_block,
)

ROOT = Path(__file__).resolve().parents[1]
TABLES = {
    "macro": ROOT.parent / "shared" / "data" / "nas-bench-macro.json",
    "fashion": ROOT / "benchmarks" / "fashion.json",
}
TABLE = "NAS_BENCHMARK_TABLE"  # in the environment of the processes of a run: the file of the problem's table
TASK = Task(image_size=32, channels=3, classes=10)


@dataclass(frozen=True)
class Problem:
    """What is searched, and the truth about it.

    Attributes:
        space: what fits.
        observed: an accuracy in [0, 1] as a trial of what fits returns it.
        mean: true accuracy of an architecture.
        best: the largest mean of all that fits.
        digits: how many options each decision of a peer has.
        member: the architecture that a peer's digits stand for, whether it fits or not.
    """

    space: SearchSpace
    observed: Callable[[Architecture, np.random.Generator], float]
    mean: Callable[[Architecture], float]
    best: float
    digits: tuple[int, ...]
    member: Callable[[Sequence[int]], Architecture]


@functools.cache
def macro(instance: int) -> Problem:
    """NAS-Bench-Macro under 60M MACs; there is one instance."""
    table = json.loads(Path(os.environ[TABLE]).read_text())
    architecture = load_object(f"{ROOT / 'examples' / 'nas_bench_macro.py'}:architecture")
    space, key = (architecture.__globals__[name] for name in ("space", "key"))  # of the same loading of the file
    feasible = space.under(Budget.parse("60M"), TASK)

    def mean(member: Architecture) -> float:
        return float(np.mean(table[key(member)]["test_acc"])) / 100

    return Problem(
        feasible,
        lambda member, rng: table[key(member)]["test_acc"][rng.integers(3)] / 100,
        mean,
        max(map(mean, feasible.enumerate())),
        (3,) * 8,
        lambda digits: architecture("".join(map(str, digits))),
    )


@functools.cache
def drawn(instance: int) -> Problem:
    """A space of four stages, one of them optional and deciding block by block, with accuracies drawn at random.

    The accuracy is 0.90 plus 0.01 times a score of mean 0 and deviation 1 over what fits: effects of the options, part
    of which rise along a decision, and of pairs of options. Noise has a deviation of 0.002.
    """
    draw = np.random.default_rng([instance, 2026])
    space = Space(
        "drawn",
        stem=Stage(conv_stem, width=16),
        stages=[
            Stage(mbconv, width=choice(16, 24, 32), depth=choice(1, 2), kernel=choice(3, 5, 7), stride=2),
            Stage(mbconv, width=32, depth=choice(0, 1, 2), expansion=per_block(3, 6), kernel=per_block(3, 5)),
            Stage(mbconv, width=choice(32, 48, 64), depth=choice(1, 2), kernel=choice(3, 5, 7), stride=2),
            Stage(mbconv, width=choice(64, 96, 128), depth=choice(1, 2), se=choice(0, 0.25), stride=2),
        ],
        head=Stage(conv_head, width=256),
    )
    feasible = space.under(Budget.parse("50%"), TASK)
    effects = [
        draw.normal(0, 0.5, len(d.options)) + draw.uniform(0, 1) * np.linspace(-1, 1, len(d.options))
        for d in space.decisions
    ]
    pairs = {
        (i, j): draw.normal(0, 0.35, (len(space.decisions[i].options), len(space.decisions[j].options)))
        for i in range(len(effects))
        for j in range(i)
        if draw.random() < 0.4
    }

    def score(member: Architecture) -> float:
        index = space.encode(member)
        single = sum(float(effect[i]) for effect, i in zip(effects, index, strict=True) if i >= 0)
        return single + sum(float(t[index[i], index[j]]) for (i, j), t in pairs.items() if min(index[i], index[j]) >= 0)

    scores = {member: score(member) for member in feasible.enumerate()}
    centre, spread = float(np.mean(list(scores.values()))), float(np.std(list(scores.values())))

    def mean(member: Architecture) -> float:
        return 0.90 + 0.01 * (score(member) - centre) / spread

    return Problem(
        feasible,
        lambda member, rng: mean(member) + 0.002 * float(rng.normal()),
        mean,
        max(map(mean, scores)),
        tuple(len(decision.options) for decision in space.decisions),
        lambda digits: space.architecture({d.name: d.options[i] for d, i in zip(space.decisions, digits, strict=True)}),
    )


@functools.cache
def failing(instance: int) -> Problem:
    """`drawn`, but pairs of options are drawn whose networks have an accuracy of 0.01, until a fifth of them fail."""
    sound, draw = drawn(instance), np.random.default_rng([instance, 2027])
    members = np.array([sound.space.encode(member) for member in sound.space.enumerate()])
    fails = np.zeros(len(members), bool)
    pairs: list[tuple[int, int, int, int]] = []
    while fails.mean() < 0.2:
        i, j = draw.choice(members.shape[1], 2, replace=False)
        pair = int(i), int(j), int(draw.choice(members[:, i])), int(draw.choice(members[:, j]))
        fail = (members[:, i] == pair[2]) & (members[:, j] == pair[3])
        if (fails | fail).mean() < 1 / 3:
            pairs.append(pair)
            fails |= fail

    def dead(member: Architecture) -> bool:
        index = sound.space.encode(member)
        return any(index[i] == one and index[j] == other for i, j, one, other in pairs)

    def mean(member: Architecture) -> float:
        return 0.01 if dead(member) else sound.mean(member)

    return Problem(
        sound.space,
        lambda member, rng: mean(member) + 0.002 * float(rng.normal()),
        mean,
        max(map(mean, sound.space.enumerate())),
        sound.digits,
        sound.member,
    )


@functools.cache
def fashion(instance: int) -> Problem:
    """The recorded trainings of `fashion_space.py`; there is one instance."""
    table = json.loads(Path(os.environ[TABLE]).read_text())
    key = load_object(f"{ROOT / 'benchmarks' / 'fashion_space.py'}:key")
    space, task, budget = (key.__globals__[name] for name in ("space", "TASK", "BUDGET"))
    feasible = space.under(budget, task)

    def mean(member: Architecture) -> float:
        return float(np.mean(table[key(member)]))

    return Problem(
        feasible,
        lambda member, rng: float(table[key(member)][rng.integers(3)]),
        mean,
        max(map(mean, feasible.enumerate())),
        tuple(len(decision.options) for decision in space.decisions),
        lambda digits: space.architecture({d.name: d.options[i] for d, i in zip(space.decisions, digits, strict=True)}),
    )


@dataclass(frozen=True)
class Landscape:
    """How accuracies are drawn: 0.90, and 0.01 times a score of mean 0 and deviation 1 over what fits.

    Attributes:
        stages: of the space, in which every decision has an effect on the network.
        budget: on `TASK`; None for the whole space.
        terms: deviation of the effects of single options, of pairs and of triples of options.
        silent: share of the decisions without any effect on the accuracy.
        noise: deviation of an observation.
    """

    stages: Sequence[Stage]
    budget: str | None = None
    terms: tuple[float, float, float] = (0.5, 0.35, 0.0)
    silent: float = 0.0
    noise: float = 0.002


LANDSCAPES: Final = {
    "operations": Landscape([Stage(mbconv, width=16, kernel=choice(1, 3, 5, 7, 9)) for _ in range(6)]),
    "noisy": Landscape([Stage(mbconv, width=16, kernel=choice(1, 3, 5, 7, 9)) for _ in range(6)], noise=0.008),
    "rugged": Landscape([Stage(mbconv, width=16, kernel=choice(1, 3, 5)) for _ in range(8)], terms=(0.1, 0.3, 0.4)),
    "silent": Landscape(
        [Stage(mbconv, width=choice(16, 24, 32), kernel=choice(3, 5, 7), expansion=choice(3, 6)) for _ in range(4)],
        silent=0.5,
    ),
    "band": Landscape(
        [Stage(mbconv, width=choice(16, 24, 32, 40), depth=choice(1, 2, 3), stride=2) for _ in range(4)],
        budget="40%..42%",
    ),
}
"""15,625 choices of six operations; the same with noise almost as large as the differences; interactions that hide the
effects of single options; 104,976 networks half of whose decisions do not matter; and a narrow band of MACs."""


@functools.cache
def landscape(kind: str, instance: int) -> Problem:
    """A problem of a kind: sums of effects of single options and of some pairs and triples of options."""
    it, draw = LANDSCAPES[kind], np.random.default_rng([instance, 2028])
    space = Space(kind, stem=Stage(conv_stem, width=16), stages=it.stages, head=Stage(conv_head, width=64))
    sizes = tuple(len(decision.options) for decision in space.decisions)
    loud = np.flatnonzero(draw.random(len(sizes)) >= it.silent)
    score: npt.NDArray[np.float64] = np.zeros(sizes)
    for order, (deviation, share) in enumerate(zip(it.terms, (1.0, 0.4, 0.2), strict=True), start=1):
        for places in combinations(loud.tolist(), order):
            if deviation and draw.random() < share:
                shape = [size if place in places else 1 for place, size in enumerate(sizes)]
                score += draw.normal(0, deviation, shape)
    inside: SearchSpace = space.under(Budget.parse(it.budget), TASK) if it.budget else space
    if it.budget:
        fitting = score[tuple(np.array([space.encode(member) for member in inside.enumerate()]).T)]
    else:
        fitting = score.ravel()
    truth = 0.90 + 0.01 * (score - fitting.mean()) / fitting.std()

    def mean(member: Architecture) -> float:
        return float(truth[tuple(space.encode(member))])

    return Problem(
        inside,
        lambda member, rng: mean(member) + it.noise * float(rng.normal()),
        mean,
        0.90 + 0.01 * float((fitting.max() - fitting.mean()) / fitting.std()),
        sizes,
        lambda digits: space.architecture({d.name: d.options[i] for d, i in zip(space.decisions, digits, strict=True)}),
    )


TUNING: Final = 1000
"""The first instance of a drawn problem that settings may be chosen on."""

_DRAWN: Final[dict[str, Callable[[int], Problem]]] = {
    "drawn": drawn,
    "failing": failing,
    **{kind: functools.partial(landscape, kind) for kind in LANDSCAPES},
}


def _for_tuning(make: Callable[[int], Problem], instance: int) -> Problem:
    return make(TUNING + instance)


PROBLEMS: Final[dict[str, tuple[Callable[[int], Problem], int]]] = {
    "macro": (macro, 1),
    "fashion": (fashion, 1),
    **{name: (make, 5 if make in (drawn, failing) else 20) for name, make in _DRAWN.items()},
    **{f"tune-{name}": (functools.partial(_for_tuning, make), 20) for name, make in _DRAWN.items()},
}
"""And how many instances, over which the seeds go in turn."""
