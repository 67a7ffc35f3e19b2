"""Whether mirroring an image left to right keeps its class, judged by the names of the classes.

A mirrored b is a d, and a left turn a right one: where several classes look like characters, numbers or sides, images
are not mirrored. Names are all that is known before a training, so this is a guess; it is shown with its reason, and
`mirror` of the estimator or the recipe overrules it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

_SIDES: Final = {
    "left", "right", "lefts", "rights", "leftward", "rightward", "leftwards", "rightwards", "lefthand", "righthand",
    "lefthanded", "righthanded", "clockwise", "counterclockwise", "anticlockwise", "cw", "ccw", "acw", "east", "west",
    "eastbound", "westbound", "gauche", "droite", "droit", "links", "rechts", "linke", "rechte", "linker", "rechter",
    "izquierda", "derecha", "izquierdo", "derecho", "sinistra", "destra", "sinistro", "destro", "esquerda", "direita",
    "esquerdo", "direito", "vänster", "höger", "venstre", "højre", "høyre", "lewo", "prawo", "lewy", "prawy", "лево",
    "право", "левый", "правый", "налево", "направо", "слева", "справа", "左", "右", "左转", "右转",
}  # fmt: skip
"""Words for sides and turns in several languages."""
_SHORT_SIDES: Final = {"l", "r", "lt", "rt"}
_ENDINGS: Final = ("left", "right", "gauche", "droite", "links", "rechts")
"""Sides that are also found within a word, as in `turnleft`; two classes must have one, for `bright` has one too."""
_NUMBERS: Final = {
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "null", "eins",
    "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "zéro", "un", "deux", "trois",
    "quatre", "cinq", "sept", "huit", "neuf", "dix", "cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete",
    "ocho", "nueve", "diez",
}  # fmt: skip
_GREEK: Final = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
}  # fmt: skip
_AROUND: Final = {
    "digit", "number", "num", "no", "nr", "letter", "char", "character", "symbol", "sign", "class", "label", "upper",
    "lower", "uppercase", "lowercase", "capital", "small", "cap", "big", "caps", "ziffer", "zahl", "buchstabe",
    "klasse", "chiffre", "lettre", "nombre", "classe", "letra", "número", "clase", "the",
}  # fmt: skip
"""Words beside a character that say no more than that it is one: `digit_0`, `A_upper`."""


def mirrors(class_names: Iterable[str]) -> bool:
    """Whether mirroring an image left to right keeps its class, judged by the class names.

    >>> mirrors(["cat", "dog"]), mirrors(["0", "1"]), mirrors(["b", "d", "space"]), mirrors(["LeftTurn", "RightTurn"])
    (True, False, False, False)
    """
    return mirroring(class_names)[0]


def mirroring(class_names: Iterable[str]) -> tuple[bool, str]:
    """Whether images may be mirrored, and why.

    >>> mirroring(["digit_0", "digit_1"])
    (False, "'digit_0' and 'digit_1' look like characters or numbers")
    """
    names = list(class_names)
    words = {name: _words(name) for name in names}
    if sided := [name for name in names if _SIDES & set(words[name])]:
        return False, _look_like(sided, "a side", "sides")
    within = [name for name in names if any(_has_side(word) for word in words[name])]
    if len(within) > 1:
        return False, _look_like(within, "a side", "sides")
    characters = [name for name in names if _is_character(words[name])]
    if len(characters) > 1:
        return False, _look_like(characters, "a character", "characters or numbers")
    beside = {name: tuple(word for word in words[name] if not _is_number(word)) for name in names}
    numbered = Counter(beside.values())
    alike = [name for name in names if len(beside[name]) < len(words[name]) and numbered[beside[name]] > 1]
    if len(alike) > 1:
        return False, f"{_listed(alike)} differ only in their numbers"
    return True, "no class names look like characters, numbers or sides"


def _words(name: str) -> list[str]:
    """A name in words: split at what is no letter or digit, between letters and digits, and before capitals.

    >>> _words("LeftTurn"), _words("digit_0"), _words("sign12b")
    (['left', 'turn'], ['digit', '0'], ['sign', '12', 'b'])
    """
    parts = re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", name))
    return [part.lower() for part in parts] or [name.strip().lower()]


def _is_number(word: str) -> bool:
    return word.isdigit() and len(word) < 5  # longer ones are identifiers, such as ImageNet's n01440764


def _has_side(word: str) -> bool:
    return word in _SHORT_SIDES or word.startswith(_ENDINGS) or word.endswith(_ENDINGS)


def _is_character(words: list[str]) -> bool:
    rest = [word for word in words if word not in _AROUND]
    return len(rest) == 1 and (len(rest[0]) == 1 or rest[0].isdigit() or rest[0] in _NUMBERS | _GREEK)


def _look_like(names: list[str], one: str, several: str) -> str:
    return f"{_listed(names)} look like {several}" if len(names) > 1 else f"{_listed(names)} looks like {one}"


def _listed(names: list[str]) -> str:
    """The first names, in quotes."""
    shown = [repr(name) for name in names[:2]]
    more = len(names) - len(shown)
    return f"{', '.join(shown)} and {more} more classes" if more > 1 else " and ".join(map(repr, names[:3]))
