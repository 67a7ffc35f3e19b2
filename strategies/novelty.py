"""Proposals that are in the space and were not made before: uniform draws, or the nearest to a desired one.

A space, with or without a budget, says which options are still open after a prefix of choices (`next_decision`). These
searches walk only prefixes that can be completed, so they terminate; rejection sampling alone might not.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from strategies.strategy import Exhausted

if TYPE_CHECKING:
    import numpy as np

    from searchspaces import Architecture, SearchSpace

DRAWS: Final = 100  # all known with chance (known share) ** 100: below 1e-4 unless more than nine tenths are known
LISTED: Final = 1000  # new members listed, at most, when draws find none
EXPANSIONS: Final = 2000  # prefixes expanded, at most, in the search for the nearest member; about 0.1 s


def sample_new(space: SearchSpace, known: Collection[Architecture], rng: np.random.Generator) -> Architecture:
    """Draw uniformly among the members of `space` that are not in `known`.

    By rejection at first. A space that is almost exhausted is enumerated in random order instead, and the draw is among
    the first 1,000 new members found; it is exactly uniform if fewer are left.

    Raises:
        Exhausted: every member is known.
    """
    for _ in range(DRAWS):
        drawn = space.sample(rng)
        if drawn not in known:
            return drawn
    new: dict[Architecture, None] = {}  # in order, each once: several prefixes may lead to one
    for member in _members(space, rng):
        if member not in known:
            new[member] = None
            if len(new) == LISTED:
                break
    if not new:
        raise Exhausted(f"all {len(known)} architectures of {space.name} that fit have been tried")
    return list(new)[int(rng.integers(len(new)))]


def nearest_new(
    space: SearchSpace, wish: Mapping[str, Any], known: Collection[Architecture], rng: np.random.Generator
) -> Architecture:
    """The new member that differs from `wish` in the fewest decisions, ties broken at random.

    Decisions that `wish` leaves out are free. A uniform-cost search over prefixes; if 2,000 expansions find no new
    member, it falls back to a uniform draw.

    Raises:
        Exhausted: every member is known.
    """
    # (departures, a random number drawn at the last departure, -depth, a random number, prefix): prefixes with equally
    # many departures come in random order, and each is completed before the next is expanded.
    heap: list[tuple[int, float, int, float, dict[str, Any]]] = [(0, 0.0, 0, 0.0, {})]
    for _ in range(EXPANSIONS):
        if not heap:
            break
        departures, path, minus_depth, _, prefix = heapq.heappop(heap)
        decision = space.next_decision(prefix)
        if decision is None:
            member = space.architecture(prefix)
            if member not in known and member in space:
                return member
            continue
        for option in decision.options:
            longer, tie = {**prefix, decision.name: option}, float(rng.random())
            if decision.name in wish and option != wish[decision.name]:
                heapq.heappush(heap, (departures + 1, tie, minus_depth - 1, tie, longer))
            else:
                heapq.heappush(heap, (departures, path, minus_depth - 1, tie, longer))
    return sample_new(space, known, rng)


def _members(space: SearchSpace, rng: np.random.Generator) -> Iterator[Architecture]:
    """Every member once, depth first, options in random order."""
    prefixes: list[dict[str, Any]] = [{}]
    while prefixes:
        prefix = prefixes.pop()
        decision = space.next_decision(prefix)
        if decision is None:
            member = space.architecture(prefix)
            if member in space:
                yield member
            continue
        for index in rng.permutation(len(decision.options)):
            prefixes.append({**prefix, decision.name: decision.options[int(index)]})
