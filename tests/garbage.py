"""What is freed without the collector of garbage, which a GPU's memory cannot wait for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Objects are freed only as the last reference to them goes."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
