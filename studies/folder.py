"""What lies in a run folder, by name: written and read under these names only."""

from __future__ import annotations

from typing import Final

MANIFEST: Final = "study.json"
"""The settings of the study."""
BEST: Final = "best.json"
"""The best network, in text form."""
TABLE: Final = "trials.csv"
PLOT: Final = "pareto.html"
REPORT: Final = "report.html"
LATENCY: Final = "latency.json"
"""A copy of the latency table."""
LEDGERS: Final = {"sqlite": "ledger.db", "journal": "ledger.log"}
"""Ledgers that lie in the run folder, by what a person calls them."""
CHECKPOINTS: Final = "checkpoints"
"""The folder in which trials keep their training state while they run."""
WEIGHTS: Final = "weights"
"""The folder with the trained weights that trials start from."""
SUPERNET: Final = "supernet.safetensors"
"""The weights that all networks share, where the estimator is a supernet."""
LOCK: Final = "lock"
PROXIES: Final = "proxies.json"
"""In the folder of a comparison of proxies: what it found."""
FAMILY: Final = "family.json"
"""The scaled sizes of a network."""
FAMILY_PLOT: Final = "family.html"
