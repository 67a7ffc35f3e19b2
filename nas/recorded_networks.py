"""The networks that a table of accuracies holds and a budget admits: what `nas proxy` draws from where a table is the
reference, as tables may hold part of a space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from searchspaces import UserError, architecture_from_json
from searchspaces.progress import doing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from estimators import TableEstimator
    from searchspaces import Architecture, SearchSpace

LISTED: Final = 20_000
"""Spaces of so many networks at most are gone through network by network."""
DRAWS: Final = 20_000
"""Uniform draws from larger ones, where the table's keys cannot be read back."""
MOST: Final = 1_000
"""Networks that are kept, as every study's manifest lists them."""


def recorded_networks(table: TableEstimator, space: SearchSpace, seed: int) -> tuple[str, ...] | None:
    """Networks of a space that a table holds, in text form; None where all that were looked at are in the table.

    Keys that are text forms are read back. With a key of one's own a small space is listed, and a large one drawn from.

    Args:
        table: the accuracies.
        space: what may be drawn; if it has a budget, only what fits.
        seed: of the draws, and of the choice among more than 1,000 networks.

    Raises:
        UserError: the table holds none of them.
    """
    doing("looking for the networks that the table holds")
    rng = np.random.default_rng(seed)
    listed = space.whole.size <= LISTED
    if table.by_text and not listed:
        found, whole = list(_read_back(table, space)), False
    else:
        looked = space.enumerate() if listed else (space.sample(rng) for _ in range(DRAWS))
        found, whole = _among(table, looked, MOST if not listed else LISTED)
    if not found:
        drawn = "" if listed or table.by_text else f" found in {DRAWS:,} draws"
        fit = "" if space.budget is None else f" within {space.budget.words()}"
        raise UserError(f"the reference holds no network of {space.name}{fit}{drawn}; is its key correct?")
    if whole:
        return None
    kept = sorted(rng.permutation(len(found))[:MOST].tolist())
    return tuple(found[place].to_json() for place in kept)


def _read_back(table: TableEstimator, space: SearchSpace) -> Iterator[Architecture]:
    """The members of a space among the keys of a table that are text forms."""
    for key in table.keys:
        try:
            found = architecture_from_json(key, space.whole)
        except UserError:
            continue  # of another space
        if found in space and table.key_of(found) == key:
            yield found


def _among(table: TableEstimator, looked: Iterator[Architecture], most: int) -> tuple[list[Architecture], bool]:
    """The first different ones that a table holds, at most so many, and whether it holds all that were looked at."""
    found: dict[Architecture, None] = {}
    whole = True
    for each in looked:
        if table.mean(each) is None:
            whole = False
        else:
            found[each] = None
            if len(found) == most:
                break
    return list(found), whole
