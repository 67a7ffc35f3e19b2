"""What can be built, and what does it cost: the layer algebra, the cells, the spaces, costs and budgets.

Nothing here imports torch but `searchspaces.modules`, which is loaded when a network is built.
"""

from searchspaces.catalog import SPACES, classic, classics, load_object, load_space, space_named
from searchspaces.cost import COSTS, Bound, Budget, Cost, human
from searchspaces.errors import UserError, nearest

from searchspaces.grammar import Choices, Decision, Value
from searchspaces.mbconv import conv_head, conv_norm_act, conv_stem, fused_mbconv, mbconv
from searchspaces.space import Architecture, Scale, SearchSpace, Space, Stage, choice, per_block
from searchspaces.task import Shape, Task

__all__ = [
    "COSTS", "SPACES", "Architecture", "Bound", "Budget", "Choices", "Cost", "Count", "Decision", "Feasible", "Scale",
    "SearchSpace", "Shape", "Space", "Stage", "Task", "UserError", "Value", "choice", "classic", "classics",
    "conv_head", "conv_norm_act", "conv_stem", "fused_mbconv", "human", "load_object", "load_space", "mbconv",
    "nearest", "per_block", "space_named",
]  # fmt: skip
