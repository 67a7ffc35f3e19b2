"""Hill climbing does what it says: neighbours of where it is, moves upwards, and begins anew at a local optimum."""

from __future__ import annotations

import numpy as np

from searchspaces import Space, Stage, choice, conv_head, conv_stem, mbconv
from strategies import Outcome, make_strategy

SPACE = Space(
    "hills",
    stem=Stage(conv_stem, width=8),
    stages=[Stage(mbconv, width=choice(8, 16, 24, 32), depth=choice(1, 2, 3), kernel=choice(3, 5, 7), stride=2)],
    head=Stage(conv_head, width=32),
)


def told(strategy, architecture, accuracy):
    strategy.tell(architecture, Outcome("running"))
    strategy.tell(architecture, Outcome("complete", accuracy))


def test_it_tries_neighbours_moves_to_the_first_better_one_and_then_begins_anew():
    strategy = make_strategy("local-search", SPACE, 40, starts=3)
    rng = np.random.default_rng(0)
    begun = [strategy.ask(np.random.default_rng([0, number])) for number in range(3)]
    for place, architecture in enumerate(begun):
        told(strategy, architecture, (0.5, 0.7, 0.6)[place])
    here = SPACE.encode(begun[1])  # the best of them
    for number in range(3):
        child = strategy.ask(rng)
        assert (SPACE.encode(child) != here).sum() == 1
        told(strategy, child, 0.69 if number < 2 else 0.8)
    here, tried = SPACE.encode(child), 0
    while (SPACE.encode(child := strategy.ask(rng)) != here).sum() == 1:
        told(strategy, child, 0.1)  # nothing around is better
        tried += 1
    assert 0 < tried <= 3 + 2 + 2  # all neighbours but those that were known
    told(strategy, child, 0.2)  # a fresh start, though it is worse
    assert (SPACE.encode(strategy.ask(rng)) != SPACE.encode(child)).sum() == 1


def test_it_climbs_to_the_top_of_a_single_hill():
    rng = np.random.default_rng(0)

    def height(architecture):
        chosen = architecture.choices
        return (chosen["stage1.width"] / 32 + chosen["stage1.depth"] / 3 + chosen["stage1.kernel"] / 7) / 3

    strategy, best = make_strategy("local-search", SPACE, 40, starts=1), 0.0
    for _ in range(24):  # of 36
        child = strategy.ask(rng)
        told(strategy, child, height(child))
        best = max(best, height(child))
    assert best == 1.0
