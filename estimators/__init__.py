"""Estimators of an architecture's accuracy, and the images they train on. Importing this loads no torch."""

from estimators.catalog import ESTIMATORS, make_estimator
from estimators.data import ImageData, load_data
from estimators.estimator import Diverged, Estimate, Estimator, Pruned, TrialContext
from estimators.full_training import FullTraining
from estimators.scoring import ZeroCost
from estimators.short_training import ShortTraining
from estimators.table import TableEstimator

__all__ = [
    "ESTIMATORS",
    "Diverged",
    "Estimate",
    "Estimator",
    "FullTraining",
    "ImageData",
    "Pruned",
    "ShortTraining",
    "TableEstimator",
    "TrialContext",
    "ZeroCost",
    "load_data",
    "make_estimator",
]
