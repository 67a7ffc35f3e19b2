"""Drawing what is new is uniform, and the nearest new member is the nearest."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from searchspaces import Architecture, Budget, Space, Stage, Task, choice, conv_head, mbconv, per_block, space_named
from strategies import Exhausted
from strategies.novelty import nearest_new, sample_new

TASK = Task(image_size=32, channels=3, classes=10)
SPACE = Space(
    "conditional",
    stages=[
        Stage(mbconv, width=choice(8, 16, 24), depth=choice(1, 2), kernel=choice(3, 5, 7), stride=2),
        Stage(mbconv, width=24, depth=choice(0, 1, 2), kernel=per_block(3, 5), expansion=per_block(3, 6)),
    ],
    head=Stage(conv_head, width=64),
)
FEASIBLE = SPACE.under(Budget.parse("50%"), TASK)
MEMBERS = list(FEASIBLE.enumerate())


@pytest.mark.parametrize("known", [0, 20, len(MEMBERS) - 12])
def test_what_is_new_is_drawn_uniformly(known: int) -> None:
    order = np.random.default_rng(1).permutation(len(MEMBERS))
    tried = {MEMBERS[i] for i in order[:known]}
    new = [member for member in MEMBERS if member not in tried]
    rng, draws = np.random.default_rng(0), 20 * len(new)
    counts = dict.fromkeys(new, 0)
    for _ in range(draws):
        counts[sample_new(FEASIBLE, tried, rng)] += 1
    # 20 each: chi-squared with n - 1 degrees of freedom, deviation sqrt(2 (n - 1)); the band is 5 of those
    chi = sum((count - 20) ** 2 / 20 for count in counts.values())
    assert chi < len(new) - 1 + 5 * np.sqrt(2 * (len(new) - 1))


def test_one_that_several_choices_lead_to_is_drawn_as_often_as_others() -> None:
    space = space_named("scaling")
    ways = Counter(space.member(factors) for factors in space.triples())
    (often, most), (seldom, fewest) = ways.most_common()[0], ways.most_common()[-1]
    assert most > 4 * fewest
    known, rng = set(ways) - {often, seldom}, np.random.default_rng(0)
    drawn = Counter(sample_new(space, known, rng) for _ in range(100))
    assert abs(drawn[often] - 50) < 25  # five deviations of a fair coin's heads


def test_nothing_new_ends_the_draw() -> None:
    with pytest.raises(Exhausted, match="of conditional that fit have been tried"):
        sample_new(FEASIBLE, set(MEMBERS), np.random.default_rng(0))
    with pytest.raises(Exhausted):
        nearest_new(FEASIBLE, {}, set(MEMBERS), np.random.default_rng(0))


def departures(member: Architecture, wish: dict[str, object]) -> int:
    return sum(name in wish and wish[name] != value for name, value in member.choices.items())


@pytest.mark.parametrize("seed", range(20))
def test_no_new_member_is_nearer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wish: dict[str, object] = {d.name: d.options[rng.integers(len(d.options))] for d in SPACE.decisions}
    for name in list(wish)[:: 2 + seed % 4]:
        del wish[name]
    tried = {member for member in MEMBERS if departures(member, wish) < 1 + seed % 2}
    found = nearest_new(FEASIBLE, wish, tried, rng)
    assert found in FEASIBLE
    assert found not in tried
    assert departures(found, wish) == min(departures(member, wish) for member in MEMBERS if member not in tried)


def test_ties_are_broken_evenly_over_decisions_and_their_options() -> None:
    wish = MEMBERS[0].choices
    known = {member for member in MEMBERS if departures(member, wish) == 0}

    def departure(member: Architecture) -> tuple[str, object]:
        return next((name, value) for name, value in member.choices.items() if name in wish and wish[name] != value)

    ways = {departure(member) for member in MEMBERS if departures(member, wish) == 1}
    rng, draws = np.random.default_rng(0), 300 * len(ways)
    counts = Counter(departure(nearest_new(FEASIBLE, wish, known, rng)) for _ in range(draws))
    assert counts.keys() == ways
    # 300 each, as above; the band is 5 deviations
    chi = sum((count - 300) ** 2 / 300 for count in counts.values())
    assert chi < len(ways) - 1 + 5 * np.sqrt(2 * (len(ways) - 1))
