"""The searches of other packages by name, and what each needs.

Each searches the product of all options, as a person sets it up: a trial proposes one option of every decision and is
answered with an accuracy, which is 0 for what does not fit the budget. What does not fit, or was tried before, is a
trial spent. None of them samples within the budget, as our strategies do.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from nas.peers.elsewhere import search_elsewhere, version_elsewhere
from nas.peers.here import Observe, optuna_tpe, pyglove_evolution
from searchspaces import UserError, nearest

PREFIX: Final = "peer:"
"""What a peer's name begins with among the names of strategies."""

ENVIRONMENT: Final = "python3.11 -m venv peers && peers/bin/pip install --no-deps -r benchmarks/peers.txt"
"""How Syne Tune and NNI are installed."""


@dataclass(frozen=True)
class Peer:
    """A search of another package.

    Attributes:
        package: that it is in, as it is installed.
        module: of the package, as it is imported.
        settings: other than its own defaults.
        search: runs it; given a function that observes, the number of options of each decision, the number of trials,
            the seed and the settings. None for what runs in another Python, as its package wants other versions of what
            `nas` needs.
        search_name: what `server` calls a search of another Python.
    """

    package: str
    module: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    search: Callable[..., None] | None = None
    search_name: str = ""


_SMALL: Final = {"population_size": 40, "sample_size": 20}
_PYGLOVE: Final = functools.partial(Peer, "pyglove", "pyglove", search=pyglove_evolution)
_OPTUNA: Final = functools.partial(Peer, "optuna", "optuna", search=optuna_tpe)
_SYNE_TUNE: Final = functools.partial(Peer, "syne-tune", "syne_tune", search_name="syne-tune-evolution")
_NNI: Final = functools.partial(Peer, "nni", "nni", search_name="nni-evolution")

PEERS: Final[dict[str, Peer]] = {
    "optuna-tpe": _OPTUNA({"multivariate": True}),
    "optuna-tpe-univariate": _OPTUNA({"multivariate": False}),
    "pyglove-evolution": _PYGLOVE(),
    "pyglove-evolution-40-20": _PYGLOVE({"population_size": 40, "tournament_size": 20}),
    "syne-tune-evolution": _SYNE_TUNE(),
    "syne-tune-evolution-40-20": _SYNE_TUNE(_SMALL),
    "nni-evolution": _NNI(),
    "nni-evolution-40-20": _NNI(_SMALL),
    "nni-rl": _NNI(search_name="nni-rl"),
}
"""Numbers behind a name are its population and its tournament, where they are not the package's own defaults."""


def is_peer(strategy: str) -> bool:
    """Whether a contestant is named as a peer.

    >>> is_peer("peer:optuna-tpe"), is_peer("optuna:TPESampler")
    (True, False)
    """
    return strategy.startswith(PREFIX)


def version(strategy: str, python: str | None = None) -> str:
    """The package of a peer with its version, as in `pyglove 0.4.5`.

    Args:
        strategy: `peer:` and a key of `PEERS`.
        python: another Python, in which Syne Tune and NNI are installed.

    Raises:
        UserError: the name is unknown, or the package is not installed; the message says how to install it.
    """
    name = strategy.removeprefix(PREFIX)
    if name not in PEERS:
        raise UserError(f"unknown peer {strategy!r}{nearest(strategy, names())}")
    peer = PEERS[name]
    if peer.search is not None:
        if importlib.util.find_spec(peer.module) is None:
            raise UserError(f"{strategy}: {peer.package} is not installed; install it with: pip install {peer.package}")
        return f"{peer.package} {importlib.metadata.version(peer.package)}"
    if python is None:
        raise UserError(
            f"{strategy}: {peer.package} needs older packages than nas and runs in a separate Python: give "
            f"--peers-python peers/bin/python after {ENVIRONMENT}"
        )
    found = version_elsewhere(python, peer.module, peer.package)
    if found is None:
        raise UserError(
            f"{strategy}: {peer.package} is not installed for {python}; create a separate environment with: "
            f"{ENVIRONMENT}"
        )
    return f"{peer.package} {found}"


def names() -> Iterable[str]:
    """Of all peers, as they are typed among strategies."""
    return [PREFIX + name for name in PEERS]


def search(
    name: str, observe: Observe, sizes: Sequence[int], trials: int, seed: int, python: str | None = None
) -> None:
    """Run a peer to its last trial.

    Args:
        name: a key of `PEERS`.
        observe: takes for each decision the place of its option, and gives what is observed of that network.
        sizes: number of options of each decision.
        trials: number of networks that it proposes.
        seed: of the search.
        python: another Python, in which Syne Tune and NNI are installed.

    Raises:
        UserError: a search in another Python ended before its last trial.
    """
    peer = PEERS[name]
    if peer.search is not None:
        peer.search(observe, sizes, trials, seed, **peer.settings)
    else:
        assert python is not None
        search_elsewhere(python, peer.search_name, observe, sizes, trials, seed, **peer.settings)
