"""The weights that the networks of a search share, as a start for training one of them in full.

As in Once-for-all (Cai et al. 2020, arXiv:1908.09791, sec. 3), whose sub-networks are ready and may be fine-tuned: the
slice of one network is taken from the file that a search with `--estimator supernet` leaves, with the statistics of its
batch norms measured on training images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.starting_weights import StartingWeights, logits_by_name
from estimators.supernet import Supernet
from searchspaces import Architecture, Scale, UserError
from studies.folder import SUPERNET
from studies.manifest import Manifest
from studies.study import Study

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from searchspaces import Buildable, SearchSpace, Task


def starting_weights(
    source: Path,
    network: Buildable,
    task: Task,
    space: SearchSpace | None = None,
    freeze: str | None = None,
    class_names: Sequence[str] | None = None,
) -> StartingWeights:
    """The weights that a network starts from: of another training, of a file, or those that a search's networks share.

    Args:
        source: as `StartingWeights.read` takes it, or the run folder of a search with a supernet.
        network, task, space, freeze, class_names: as there; the space is also that of the search, where it is no space
            of ours.

    Raises:
        UserError: as there; or the network is none of those that the search draws from, or the weights are not
            finished.
    """
    file = source / SUPERNET
    if not (Manifest.is_in(source) and file.is_file()):
        return StartingWeights.read(source, network, task, space, freeze, class_names)
    import torch

    study = Study.open(source, space=space)
    try:
        estimator = study.make_estimator()
        if not isinstance(network, Architecture) or network not in study.feasible:
            raise UserError(
                f"--weights: {source} has shared weights for the networks of {study.space.name} that fit its budget, "
                "and this is not one of them"
            )
        assert isinstance(estimator, Supernet)
        with torch.random.fork_rng([]):
            module, _ = estimator.read(study.feasible, str(file)).network(network, torch.device("cpu"))
    finally:
        study.close()
    small = estimator.data.task
    logits = None if class_names is None else logits_by_name(estimator.data.class_names, class_names)
    tree = network.network(small, Scale(estimator.width, estimator.depth))
    return StartingWeights.of(
        str(source), file.read_bytes(), module.state_dict(), tree, small.shape, network, task, freeze, logits
    )
