"""How good a classifier is, from the probabilities that it gives: what papers and practitioners report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from estimators.estimator import binomial_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nas.documents import Document

CONFUSIONS: Final = 20
"""The most frequent confusions of two classes that are listed."""
TOP: Final = 5
BINS: Final = 15
"""Bins of confidence of the calibration error, as in its paper."""
CONFIDENCE: Final = 1.959964
"""Standard deviations on either side of a 95 % interval."""


def interval(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy: Wilson 1927, JASA 22(158), which holds for few images and near 0 and 1 too.

    >>> tuple(round(bound, 3) for bound in interval(9, 10))
    (0.596, 0.982)
    """
    share, z2 = right / images, CONFIDENCE**2
    middle = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = CONFIDENCE * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2)) / (1 + z2 / images)
    return max(0.0, middle - half), min(1.0, middle + half)


def calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The expected calibration error, in [0, 1]: the mean distance of confidence from accuracy.

    Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv:1706.04599, eq. 3, with 15 bins of equal width.

    Args:
        probabilities: (images, classes).
        labels: (images,).
    """
    import numpy as np

    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    in_bin = np.bincount(which, minlength=BINS)
    gap = np.bincount(which, right - confidence, BINS)  # images of a bin times its gap
    return float(np.abs(gap[in_bin > 0]).sum() / len(labels))


def balanced_error(right: NDArray[np.int64], of: NDArray[np.int64]) -> float:
    """The standard error of the balanced accuracy, the mean of the recalls r of K classes: sqrt(sum r (1 - r) / n) / K.

    The recall of a class on n images has the variance r (1 - r) / n of a binomial proportion. Classes have different
    images, so the recalls are independent, and the variance of their mean is the sum of their variances over K^2. This
    is a stratified estimate with equal weights (Cochran 1977, Sampling Techniques, ch. 5). The two successes and two
    failures of `binomial_error` are shared out to the classes by their images.

    Args:
        right, of: (classes,), images classified correctly and images in all; at least one of each class.

    >>> import numpy as np
    >>> round(balanced_error(np.array([90, 5]), np.array([100, 10])), 4)  # about sqrt(0.09 / 100 + 0.25 / 10) / 2
    0.0806
    """
    added = 2 * of / of.sum()
    recall = (right + added) / (of + 2 * added)
    return math.sqrt(float((recall * (1 - recall) / of).sum())) / len(of)


def metrics(probabilities: NDArray[np.floating], labels: NDArray[np.int64], names: Sequence[str]) -> Document:
    """What is reported of a classifier, as plain JSON values.

    Balanced accuracy is the mean recall of the classes that have images; precision is None where a class is never
    predicted, recall (the accuracy on a class) where it has no images.

    Args:
        probabilities: (images, classes).
        labels: (images,), indices into `names`.
        names: of all classes.
    """
    import numpy as np

    predicted, images, classes = probabilities.argmax(1), len(labels), len(names)
    counted = np.zeros((classes, classes), dtype=np.int64)  # (true class, predicted class)
    np.add.at(counted, (labels, predicted), 1)
    right, of, said = counted.diagonal(), counted.sum(1), counted.sum(0)
    wrong = counted - np.diag(right)
    most = [divmod(int(each), classes) for each in np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]]
    accuracy = float(right.sum() / images)
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
    there = of > 0
    among = int((ranked == labels[:, None]).any(1).sum())
    return {
        "images": images,
        "accuracy": accuracy,
        "standard_error": binomial_error(accuracy, images),
        "interval": list(interval(int(right.sum()), images)),
        "top5_accuracy": among / images if classes > TOP else None,
        "top5_standard_error": binomial_error(among / images, images) if classes > TOP else None,
        "top5_interval": list(interval(among, images)) if classes > TOP else None,
        "balanced_accuracy": float((right[there] / of[there]).mean()),
        "balanced_standard_error": balanced_error(right[there], of[there]),
        "calibration_error": calibration_error(probabilities, labels),
        "classes": [
            {
                "class": names[i],
                "images": int(of[i]),
                "accuracy": float(right[i] / of[i]) if of[i] else None,
                "precision": float(right[i] / said[i]) if said[i] else None,
            }
            for i in range(classes)
        ],
        "confusions": [
            {"class": names[i], "taken_for": names[j], "images": int(wrong[i, j]), "share": float(wrong[i, j] / of[i])}
            for i, j in most
            if wrong[i, j]
        ],
        "confusion_matrix": counted.tolist(),
    }
