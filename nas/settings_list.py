"""`nas settings`: every setting that `--set` takes, from the signatures and docstrings of what has it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError, nearest

if TYPE_CHECKING:
    from nas.documents import Document

_NOT_SET: Final = {"space", "trials", "data", "device", "path", "start_from", "objectives"}
"""Parameters that have options of their own, or follow from others."""


def settings_document(name: str | None = None) -> Document:
    """The settings of every strategy, estimator and training recipe, or of one of them.

    Args:
        name: of a strategy or an estimator, or `recipe`; all by default.

    Raises:
        UserError: there is none of that name.
    """
    from estimators.catalog import ESTIMATORS
    from estimators.recipe import Recipe
    from strategies.catalog import STRATEGIES

    several: list[tuple[str, str, Callable[..., Any]]] = [
        *(("strategy", each, maker) for each, maker in STRATEGIES.items()),
        *(("estimator", each, maker) for each, maker in ESTIMATORS.items()),
        ("recipe", "recipe", Recipe),
    ]
    names = [each for _, each, _ in several]
    if name is not None and name not in names:
        raise UserError(f"nothing named {name!r} has settings{nearest(name, names)}")
    found = [(target, each, list(_settings(maker))) for target, each, maker in several if name in (None, each)]
    return {
        "settings": [{"target": target, "of": each, **one} for target, each, settings in found for one in settings],
        "without_settings": [{"target": target, "of": each} for target, each, settings in found if not settings],
    }


def _settings(maker: Callable[..., Any]) -> Iterator[Document]:
    """Name, default and description of each keyword of a function or class."""
    described = _described(inspect.getdoc(maker) or "")
    for name, parameter in inspect.signature(maker).parameters.items():
        if name not in _NOT_SET and parameter.default is not inspect.Parameter.empty:
            yield {"name": name, "default": _default(maker, parameter), "doc": _plain(described.get(name, ""))}


def _default(maker: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The default of a keyword; of a dataclass's field that has a factory, what that makes."""
    made = getattr(maker, "__dataclass_fields__", {}).get(parameter.name)
    return parameter.default if made is None or made.default_factory is MISSING else made.default_factory()


def _plain(doc: str) -> str:
    """A description without the marks of code, and without names that mean something in the code alone.

    >>> _plain("`fp32` or `bf16`; by default as suits the space (`suited`).")
    'fp32 or bf16; by default as suits the space.'
    """
    return re.sub(r" \(`\w+`\)", "", doc).replace("`", "")


def _described(docstring: str) -> dict[str, str]:
    """What a docstring's sections say of each name.

    >>> _described("Make.\\n\\nArgs:\\n    lr: learning rate\\n        at its peak.\\n    width, depth: factors.")
    {'lr': 'learning rate at its peak.', 'width': 'factors.', 'depth': 'factors.'}
    """
    found: dict[str, str] = {}
    for names, words in re.findall(r"^    ([a-z_, ]+): (.*(?:\n        .*)*)", docstring, re.MULTILINE):
        for name in names.split(", "):
            found.setdefault(name, " ".join(words.split()))
    return found
