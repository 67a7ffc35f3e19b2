"""Laws of the tests on samples that are too large for each run of them: `python -m benchmarks.proofs [TEXT]`.

Prints a line a law, and exits with 1 if one of them does not hold; TEXT runs those whose names contain it. All at once
take about twenty minutes of one core. The laws, the spaces and the functions that measure are those of the tests,
which keep a smaller sample of each:

- draws from a space, and under budgets, are uniform: 100,000 draws, chi-square over cells of equally many members;
- the controller learns: twenty seeds of each algorithm, and each of them;
- late proposals are better than random ones: twenty seeds of each strategy;
- costs are those that fvcore counts: five samples of each space on both tasks at both scales;
- what claims to compute what its parent does, does: twenty children of each space;
- a band between two costs of a chain is refused: DenseNet, too;
- seeded studies are those that were recorded: all of them, and the documents of the commands.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch: sums of floats have another order
os.environ.setdefault("NAS_CORES", "1")
os.environ.setdefault("NAS_CACHE", "none")
TESTS = Path(__file__).parent.parent / "tests"
DRAWS = 100_000
SEEDS = 20
CHILDREN = 20


@dataclass(frozen=True)
class Found:
    """What a sample said of a law.

    Attributes:
        sample: how large it was.
        measured: the number that is bounded.
        bound: what it must be, and why.
        holds: whether it is.
    """

    sample: str
    measured: str
    bound: str
    holds: bool


def uniform(text: str | None) -> Found:
    """Chi-square of the draws from the tiny space, whole (None) or under a budget."""
    import test_searchspaces_laws as laws

    from searchspaces import Budget

    space = laws.TINY if text is None else laws.TINY.under(Budget.parse(text), laws.SMALL)
    members, rng = list(space.enumerate()), laws.rng_of(0)
    found = laws.deviation(members, lambda: space.sample(rng), 1000 if text is None else 200, DRAWS)
    # chi-square with 199 degrees of freedom; rarer with 999
    return Found(f"{DRAWS:,} draws", f"{found:+.2f} sd", "within 5 sd: 6e-6", abs(found) < 5)


def uniform_cells() -> Found:
    """Chi-square of the draws of wired cells."""
    import test_searchspaces_nasnet as nasnet

    found = nasnet.cells_drawn(DRAWS)
    return Found(f"{DRAWS:,} draws", f"{found:+.2f} sd", "within 5 sd: 2e-6", abs(found) < 5)


def macs_of(name: str) -> Found:
    """Whether the MACs that `nas spaces` lists for a space are those of its smallest and its largest network."""
    from searchspaces import Budget, Task, space_named
    from searchspaces.catalog import RANGES

    inside = space_named(name).under(Budget.parse("100%"), Task())
    found = inside.smallest.macs, inside.largest.macs
    return Found("all", f"{found[0]:,} to {found[1]:,}", f"{RANGES[name]}", found == RANGES[name])


def counted(name: str) -> Found:
    """How many samples cost another thing than fvcore counts on the built module."""
    import test_searchspaces_laws as laws

    tried = [(task, scale, seed) for task in laws.TASKS for scale in laws.SCALES for seed in range(1, 6)]
    wrong = 0
    for each in tried:
        ours, theirs = laws.counts(name, *each)
        wrong += ours != theirs
    return Found(f"{len(tried)} samples", f"{wrong} differ", "none differs", not wrong)


def inherits(name: str) -> Found:
    """Whether each child that claims to compute what its parent does, does so."""
    import test_estimators_inheritance as inheritance

    try:
        claimed = inheritance.claims(name, CHILDREN)
    except AssertionError as error:
        return Found(f"{CHILDREN} children", str(error).split("\n")[0][:16], "each claim is true", False)
    return Found(f"{CHILDREN} children", f"{claimed} claim it", "each claim is true", True)


def refuses(name: str) -> Found:
    """What is said of a band that lies between two costs."""
    import test_searchspaces_laws as laws

    said = laws.refusal(name)
    holds = f"architectures of {name} fits" in said
    return Found(laws.BANDS[name], "refused" if said else "not refused", "none fits", holds)


def learns(algorithm: str) -> Found:
    """The least that any seed of the controller gained, and its last hundred proposals."""
    import test_strategies_rl as rl

    ends = [rl.learning(algorithm, seed) for seed in range(SEEDS)]
    gain, late = min(late - early for early, late in ends), min(late for _, late in ends)
    # as in the test: one of twenty that learn nothing passes with at most 20 times 1e-9
    holds = gain > 0.163 and late > 0.9
    return Found(f"{SEEDS} seeds", f"{gain:.3f}, {late:.3f}", "each above 0.163, 0.9: 2e-8", holds)


def late_is_better(name: str) -> Found:
    """The mean score of late proposals."""
    import test_strategies_laws as laws

    from searchspaces import Budget

    scores = laws.late_scores(laws.SPACE.under(Budget.parse("40%"), laws.TASK), name, SEEDS)
    mean, bound = sum(scores) / len(scores), laws.random_at_most(len(scores))
    return Found(f"{SEEDS} seeds", f"{mean:.3f}", f"above {bound:.3f}: 3e-7", mean > bound)


def as_recorded() -> Found:
    """All seeded studies and documents beside the recorded ones."""
    import test_behaviour as behaviour

    wrong = behaviour.differences(behaviour.record(), behaviour.golden())
    for line in wrong:
        print(line)
    return Found(f"{len(behaviour.ALL)} studies", f"{len(wrong)} differ", "none differs", not wrong)


def proofs() -> Iterator[tuple[str, Callable[[], Found]]]:
    """Each law by its name, and what measures it."""
    import test_searchspaces_laws as spaces
    import test_strategies_laws as strategies

    from searchspaces import SPACES

    yield "uniform draws", partial(uniform, None)
    for text in spaces.BOUNDED:
        yield f"uniform draws, {text}", partial(uniform, text)
    yield "uniform draws, wired cells", uniform_cells
    for name in SPACES:
        yield f"macs of {name}", partial(macs_of, name)
    for name in SPACES:
        yield f"costs of {name}", partial(counted, name)
    for name in SPACES:
        yield f"inheritance in {name}", partial(inherits, name)
    for name in spaces.BANDS:
        yield f"bands of {name}", partial(refuses, name)
    for algorithm in ("ppo", "reinforce"):
        yield f"learns, {algorithm}", partial(learns, algorithm)
    for name in strategies.LEARNING:
        yield f"late is better, {name}", partial(late_is_better, name)
    yield "as recorded", as_recorded


def main() -> int:
    """Print the table; whether a law does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", default="")
    given = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    wrong = 0
    print(f"{'law':<38}{'sample':<16}{'measured':<18}{'bound: false alarms':<32}{'':<6}{'s':>6}")
    for name, measure in proofs():
        if given.text not in name:
            continue
        began = time.process_time()
        found = measure()
        wrong += not found.holds
        row = f"{name:<38}{found.sample:<16}{found.measured:<18}{found.bound:<32}{'' if found.holds else 'WRONG':<6}"
        print(f"{row}{time.process_time() - began:>6.0f}", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
