"""How well a study's proxy ranks networks, where `nas proxy` measured it: in a folder beside the run's, which is found
by its space, its task, its images and the settings of the proxy.

What lies there may come from anybody; what is not as `nas proxy` writes it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from searchspaces import Budget, UserError
from searchspaces.files import read_json
from studies.folder import PROXIES

if TYPE_CHECKING:
    from studies.study import Study

COUNTED_NAMES: Final = {"macs": "MACs", "params": "parameters"}
"""What needs no proxy: names of the costs that rank networks by themselves."""
Verdict = Literal["better", "alike", "worse"]
"""How a proxy ranks networks beside counting; `alike` is what is not told apart from it."""
_SAID: Final = {
    "better": "better than {counting}", "alike": "not distinguishable from {counting}", "worse": "worse than {counting}"
}  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """What was measured of a proxy.

    Attributes:
        folder: of the comparison.
        networks: how many were ranked.
        budget: which they fit; None where everything fits.
        reference: what they were ranked by, such as `short, 30 epochs`.
        tau: Kendall's rank correlation of the proxy with the reference.
        interval: of it.
        level: of the interval, in [0, 1].
        counting: the better of the costs that rank networks without a proxy, `macs` or `params`.
        beyond: whether the proxy's correlation is told apart from that of counting, and above it.
        verdict: `better` or `worse` where it is told apart from that of counting, else `alike`.
    """

    folder: str
    networks: int
    budget: str | None
    reference: str
    tau: float
    interval: tuple[float, float]
    level: float
    counting: str
    beyond: bool
    verdict: Verdict = "alike"

    def told(self) -> str:
        """The measurement in a sentence without a full stop.

        >>> Agreement("runs/proxy", 40, "macs=20M", "short, 30 epochs", 0.52, (0.3, 0.7), 0.9, "macs", False).told()
        "Kendall's τ 0.52 (90% interval 0.30 to 0.70) with short, 30 epochs, on 40 networks within 20M MACs; not \
distinguishable from counting MACs"
        """
        within = f" within {Budget.parse(self.budget).words()}" if self.budget else ""
        counting = f"counting {COUNTED_NAMES.get(self.counting, self.counting)}"
        return (
            f"Kendall's τ {self.tau:.2f} ({self.level:.0%} interval {self.interval[0]:.2f} to {self.interval[1]:.2f}) "
            f"with {self.reference}, on {self.networks} networks{within}; "
            + _SAID[self.verdict].format(counting=counting)
        )


def verdict(row: Mapping[str, Any]) -> Verdict | None:
    """Whether a proxy ranks better or worse than counting does, or is not told apart from it; None for a count itself.

    Args:
        row: of the proxy, in what `nas proxy` writes.

    >>> [verdict({"beyond_counting": ends}) for ends in ([0.1, 0.3], [-0.3, -0.1], [-0.1, 0.1], [None, None], None)]
    ['better', 'worse', 'alike', 'alike', None]
    """
    beyond = row.get("beyond_counting")
    if beyond is None:
        return None
    low, high = (end or 0.0 for end in beyond)
    return "better" if low > 0 else "worse" if high < 0 else "alike"


def agreement(study: Study) -> Agreement | None:
    """What was measured of the study's own proxy, on the most networks; None where nothing was, or where it gave all
    networks one estimate, which ranks none."""
    settings = _settings(study.manifest.estimator["resolved"])
    found = [
        _agreement(document, row)
        for document in comparisons(study)
        for row in document["proxies"]
        if isinstance(row.get("estimator"), Mapping) and _settings(row["estimator"]) == settings
        if row["tau"] is not None
    ]
    return max(found, key=lambda each: each.networks, default=None)


def comparisons(study: Study) -> Iterator[Mapping[str, Any]]:
    """What `nas proxy` measured on the study's space, task and images, in folders beside its own."""
    if study.folder is None:
        return
    manifest = study.manifest
    images = _fingerprint(manifest.estimator["resolved"].get("data"))
    for path in sorted(study.folder.resolve().parent.glob(f"*/{PROXIES}")):
        try:
            document = read_json(path, "the comparison of proxies")
        except UserError:
            continue  # another folder's damage is none of this run
        if not _is_comparison(document):
            continue
        same = (document["space"], document["task"]) == (manifest.space["name"], manifest.task)
        if same and _fingerprint(document.get("data")) == images:
            yield document


def _agreement(document: Mapping[str, Any], row: Mapping[str, Any]) -> Agreement:
    low, high = row["interval"]
    found = verdict(row) or "alike"
    return Agreement(
        str(document["folder"]), document["networks"], document.get("budget"), document["reference"]["estimator"],
        row["tau"], (low, high), document["level"], document["counting"], found == "better", found,
    )  # fmt: skip


def _settings(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """An estimator as it describes itself, without its images, which are compared by their fingerprint, and without its
    rungs, which tell a pruner when to stop a trial and leave the estimates of the others alone."""
    return {name: value for name, value in resolved.items() if name not in ("data", "rungs")}


def _fingerprint(data: Any) -> Any:
    return data.get("fingerprint") if isinstance(data, Mapping) else data


_NUMBER: Final = (int, float)
_NUMBER_OR_NULL: Final = (*_NUMBER, type(None))
_DOCUMENT: Final[Mapping[str, Any]] = {
    "space": str, "task": str, "budget": (str, type(None)), "folder": str, "counting": str, "networks": int,
    "level": _NUMBER, "reference": Mapping, "proxies": list,
}  # fmt: skip
_REFERENCE: Final[Mapping[str, Any]] = {"estimator": str, "trainings": int, "ceiling": _NUMBER_OR_NULL}
_ROW: Final[Mapping[str, Any]] = {
    "proxy": str, "tau": _NUMBER_OR_NULL, "interval": list, "spearman": _NUMBER_OR_NULL, "regret": _NUMBER,
    "top": _NUMBER_OR_NULL, "seconds": _NUMBER,
}  # fmt: skip


def _is_comparison(document: Any) -> bool:
    """Whether it is as `nas proxy` writes it, as far as pages and sentences read it; earlier versions wrote less."""
    return (
        _has(document, _DOCUMENT)
        and isinstance(document.get("top", 1), int)
        and _has(document["reference"], _REFERENCE)
        and all(_has(row, _ROW) and _interval(row["interval"], row["tau"] is None) for row in document["proxies"])
        and all(
            _interval(row.get(name) or [0, 0], True)
            for row in document["proxies"]
            for name in ("beyond_counting", "spearman_interval")
        )
        and all(
            isinstance(row.get(name), _NUMBER_OR_NULL) for row in document["proxies"] for name in ("corrected", "found")
        )
    )


def _has(value: Any, kinds: Mapping[str, Any]) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(name), kind) for name, kind in kinds.items())


def _interval(value: Any, undefined: bool) -> bool:
    kinds = _NUMBER_OR_NULL if undefined else _NUMBER
    return isinstance(value, list) and len(value) == 2 and all(isinstance(each, kinds) for each in value)
