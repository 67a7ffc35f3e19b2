"""What should be tried next? Strategies propose architectures and learn from outcomes; `strategy.py` says how."""

from strategies.catalog import STRATEGIES, make_strategy, settings_of
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
    "settings_of",
]
