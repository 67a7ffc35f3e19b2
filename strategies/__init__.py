"""Search strategies: they propose the next architecture and learn from outcomes. `strategy.py` has the interface."""

from strategies.catalog import STRATEGIES, make_strategy, settings_before, settings_of
from strategies.evolution import RegularizedEvolution
from strategies.pareto import ParetoEvolution
from strategies.random import RandomSearch
from strategies.strategy import Exhausted, Outcome, Strategy

__all__ = [
    "STRATEGIES",
    "Exhausted",
    "Outcome",
    "ParetoEvolution",
    "RandomSearch",
    "RegularizedEvolution",
    "Strategy",
    "make_strategy",
    "settings_before",
    "settings_of",
]
