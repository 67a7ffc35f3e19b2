"""What can be built, and what does it cost: the layer algebra, the cells, the spaces, costs and budgets.

Only `modules`, `torch_layers` and `counting` import torch; they are loaded when a network is built or traced.
"""

from searchspaces.architecture import Architecture, Buildable, SearchSpace
from searchspaces.budgeted.contents import Count
from searchspaces.budgeted.feasible import Feasible
from searchspaces.catalog import CLASSICS, SPACES, classic, load_space, space_named
from searchspaces.chain_costs import Indices
from searchspaces.classics.classic import Classic
from searchspaces.cost import COSTS, Bound, Budget, Cost, human
from searchspaces.errors import NothingFitsError, UserError, nearest
from searchspaces.grammar import Choices, Decision, Value
from searchspaces.mbconv import conv_head, conv_norm_act, conv_stem, fused_mbconv, mbconv
from searchspaces.own_code import load_object
from searchspaces.recipe import RecipeSpace
from searchspaces.rows import Rows, costs_of, rows_of
from searchspaces.scaling import Factors, Scaled, ScalingSpace
from searchspaces.space import Space
from searchspaces.stage import Scale, Stage, choice, per_block, same_as
from searchspaces.task import Shape, Task
from searchspaces.text_forms import (
    architecture_from_json,
    network_from_file,
    network_from_json,
    scaled_from_json,
    space_of,
)

__all__ = [
    "CLASSICS",
    "COSTS",
    "SPACES",
    "Architecture",
    "Bound",
    "Budget",
    "Buildable",
    "Choices",
    "Classic",
    "Cost",
    "Count",
    "Decision",
    "Factors",
    "Feasible",
    "Indices",
    "NothingFitsError",
    "RecipeSpace",
    "Rows",
    "Scale",
    "Scaled",
    "ScalingSpace",
    "SearchSpace",
    "Shape",
    "Space",
    "Stage",
    "Task",
    "UserError",
    "Value",
    "architecture_from_json",
    "choice",
    "classic",
    "conv_head",
    "conv_norm_act",
    "conv_stem",
    "costs_of",
    "fused_mbconv",
    "human",
    "load_object",
    "load_space",
    "mbconv",
    "nearest",
    "network_from_file",
    "network_from_json",
    "per_block",
    "rows_of",
    "same_as",
    "scaled_from_json",
    "space_named",
    "space_of",
]
