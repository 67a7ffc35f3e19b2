"""How a population-based strategy begins: networks named by the user, then uniform draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from searchspaces import UserError, architecture_from_json, nearest

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from searchspaces import Architecture, SearchSpace


def default_population(trials: int, least: int = 10) -> int:
    """A fifth of the planned trials, at least `least` and at most 100.

    >>> [default_population(trials) for trials in (20, 200, 20_000)]
    [10, 40, 100]
    """
    return min(max(trials // 5, least), 100)


@final
class StartFrom:
    """The setting `start_from`: architectures that a strategy proposes before any other, in order, each once.

    Args:
        space: must contain them, under its budget if it has one.
        given: names among `space.references` or architectures in JSON; a single one may stand without a list.

    Raises:
        UserError: one is unknown, or is not in the space under its budget.
    """

    def __init__(self, space: SearchSpace, given: str | Sequence[str]) -> None:
        self._texts = (given,) if isinstance(given, str) else tuple(given)
        self._architectures = read_architectures(space, self._texts, "start_from")

    @property
    def setting(self) -> list[str]:
        """The value of `start_from` for the manifest."""
        return list(self._texts)

    def next(self, known: Container[Architecture]) -> Architecture | None:
        """The first one that is not in `known`; None when all have been proposed."""
        return next((each for each in self._architectures if each not in known), None)


def read_architectures(space: SearchSpace, texts: Sequence[str], setting: str) -> list[Architecture]:
    """Members of a space by their names among its references, or from their text forms.

    Args:
        space: under its budget, if it has one.
        texts: the names and text forms.
        setting: what gave them, for messages.

    Raises:
        UserError: one is unknown, or is not in the space under its budget.
    """
    return [_read(space, text, setting) for text in texts]


def _read(space: SearchSpace, text: str, setting: str) -> Architecture:
    found = space.references.get(text) or space.whole.references.get(text)
    if found is None:
        if not text.lstrip().startswith("{"):
            raise UserError(f"{setting}: {text!r} is not a member of {space.name}{nearest(text, space.references)}")
        found = architecture_from_json(text, space.whole)
    return space.architecture(found.choices)
