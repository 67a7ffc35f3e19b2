"""Options that were typed, as against those that have their defaults: a command refuses those that it would ignore."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def first_given(context: typer.Context, names: Collection[str]) -> str | None:
    """The first option, as it is typed, that was given among those of these names; None where none was.

    Args:
        context: of the command.
        names: of its parameters, such as `image_size`.
    """
    for each in context.command.params:
        source = None if each.name is None else context.get_parameter_source(each.name)
        if each.name in names and source is not None and source.name == "COMMANDLINE":
            return each.opts[0]
    return None
