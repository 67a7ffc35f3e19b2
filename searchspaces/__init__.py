"""What can be built, and what does it cost: the layer algebra, the cells, the spaces, costs and budgets.

Only `modules` and `torch_layers` import torch; they are loaded when a network is built.
"""

from searchspaces.catalog import CLASSICS, SPACES, classic, load_object, load_space, space_named, space_of
from searchspaces.classic import Classic
from searchspaces.cost import COSTS, Bound, Budget, Cost, human
from searchspaces.errors import UserError, nearest
from searchspaces.feasible import Count, Feasible
from searchspaces.grammar import Choices, Decision, Value
from searchspaces.mbconv import conv_head, conv_norm_act, conv_stem, fused_mbconv, mbconv
from searchspaces.scaling import Factors, Scaled, ScalingSpace
from searchspaces.space import Architecture, SearchSpace, Space
from searchspaces.stage import Scale, Stage, choice, per_block
from searchspaces.task import Shape, Task

__all__ = [
    "CLASSICS",
    "COSTS",
    "SPACES",
    "Architecture",
    "Bound",
    "Budget",
    "Choices",
    "Classic",
    "Cost",
    "Count",
    "Decision",
    "Factors",
    "Feasible",
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
    "choice",
    "classic",
    "conv_head",
    "conv_norm_act",
    "conv_stem",
    "fused_mbconv",
    "human",
    "load_object",
    "load_space",
    "mbconv",
    "nearest",
    "per_block",
    "space_named",
    "space_of",
]
