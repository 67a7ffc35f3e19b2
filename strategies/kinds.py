"""What a setting may be, by its annotation: whether a value is of that kind, and how a person says it."""

from __future__ import annotations

import inspect
from typing import Final

from searchspaces import UserError

_KINDS: Final[dict[str, tuple[type | tuple[type, ...], str]]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "a name"),
    "Sequence[str]": ((list, tuple), "a list of names"),
    "None": (type(None), "null"),
}
"""The annotations of settings, what they admit, and how a person says it."""


def check_kind(who: str, setting: str, value: object, annotation: object) -> None:
    """Refuse a value of another kind; what only Python can give, such as a function, passes where one is annotated.

    Args:
        who: whose setting it is, for the message.
        setting: its name.
        value: what was given.
        annotation: of the parameter, such as `int | None`.

    Raises:
        UserError: as said.
    """
    parts = (annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)).split(" | ")
    kinds = [each for each in parts if each in _KINDS]
    plain = value is None or isinstance(value, str | int | float | list | tuple | dict)
    if not _is_one_of(value, kinds) and (plain or len(kinds) == len(parts)):
        wanted = " or ".join(_KINDS[kind][1] for kind in kinds) or "an object of Python"
        raise UserError(f"{who}: {setting} must be {wanted}, got {value!r}")


def _is_one_of(value: object, kinds: list[str]) -> bool:
    """Whether a value is of one of the annotated kinds; true and false are no numbers, and lists are of texts."""
    if isinstance(value, list | tuple) and not all(isinstance(each, str) for each in value):
        return False
    return any(isinstance(value, _KINDS[kind][0]) and (kind == "bool") == isinstance(value, bool) for kind in kinds)
