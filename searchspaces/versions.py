"""The versions of Python and of libraries, as manifests, training records and model cards note them."""

from __future__ import annotations

import platform
from importlib import metadata


def versions(*names: str) -> dict[str, str]:
    """The installed version of each distribution, in that order; those that are not installed are left out.

    Args:
        names: distributions, such as `torch`, and `python` for the interpreter.

    >>> list(versions("python", "numpy", "no-such-distribution"))
    ['python', 'numpy']
    """
    found = {}
    for name in names:
        try:
            found[name] = platform.python_version() if name == "python" else metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
