"""Weight inheritance: a network starts from the trained weights of another one, layer by layer, by place.

After Net2Net (Chen et al. 2016, arXiv:1511.05641): wider layers have copies of channels (sec. 2.2, Algorithm 1), larger
kernels are padded with zeros, and blocks that the parent does not have compute the identity where they are residual:
the last layer of their body starts at zero (Goyal et al. 2017, arXiv:1706.02677, sec. 5.1). Where only this is done the
child computes in evaluation mode what its parent computes; narrower layers, smaller kernels, other activations, strides
or wirings take over what there is, and weights that have no counterpart stay as they were initialized.

Departures: channels are copied evenly and not at random (`estimators.channel_maps`), and the shares of a weight among
copies are drawn, where the paper divides equally and then needs noise. Left out: new layers without a residual as the
identity (sec. 2.3).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.channel_maps import Map, Read, Value, added, concatenated, flattened, passes, stretched, taps
from estimators.matching import Matching, branches_of, depthwise
from searchspaces import layers
from searchspaces.layers import Chain, Concat, Conv, Graph, GraphStep, Linear, Node, Norm, SqueezeExcite, Sum
from searchspaces.task import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Inherited:
    """What a network took over.

    Attributes:
        params: its parameters.
        inherited: those that come from the parent: copied, shared among copies or padded with zeros.
        preserved: whether it is known to compute what its parent computes, in evaluation mode.
        fresh: names of the parameters of which some numbers, or all, stay as they were initialized.
    """

    params: int
    inherited: int
    preserved: bool
    fresh: frozenset[str] = frozenset()

    @property
    def share(self) -> float:
        """Inherited parameters of all, in [0, 1]."""
        return self.inherited / max(self.params, 1)


def inherit(
    module: nn.Module,
    network: Node,
    given: Shape,
    weights: Mapping[str, Tensor],
    parent: Node,
    taken: Shape,
    seed: int,
    logits: Sequence[int] | None = None,
) -> Inherited:
    """Give a module the weights of another network, in place; the other's are only read.

    Args:
        module: the child, as `network` is built.
        network: its tree of layers.
        given: the shape of its images.
        weights: the parent's tensors by name, complete.
        parent: its tree of layers.
        taken: the shape of its images.
        seed: of the shares among copies of a channel; at least 0.
        logits: for each class of the child the number of the parent's logit, -1 for none; by default the same number
            if both have as many classes, else none: a head for other classes is none to inherit.
    """
    import torch

    value = replace(Value.by_place(taken, given), same=taken == given)
    classes, own = parent.shape(taken)[0], network.shape(given)[0]
    by_place = np.arange(own) if classes == own else np.full(own, -1)
    wanted = _Wanted(classes, by_place if logits is None else np.array(logits, np.int64))
    with torch.no_grad():
        walk = _Walk(weights, module.state_dict(), seed)
        out = walk.both(_Place(parent, ""), _Place(network, ""), value, wanted)
    sizes = {name: each.numel() for name, each in module.named_parameters()}  # those that are shared have one name
    inherited = sum(count for name, count in walk.counts.items() if name in sizes)
    fresh = frozenset(name for name, size in sizes.items() if walk.counts.get(name, 0) < size)
    return Inherited(sum(sizes.values()), inherited, out.same and out.unchanged(), fresh)


@dataclass(frozen=True)
class _Wanted:
    """The map that an output should have, so that it can be added to another value.

    Attributes:
        parent: channels of the parent's output.
        channels: the map.
    """

    parent: int
    channels: Map


@dataclass(frozen=True)
class _Place:
    """A piece of a network, and what the names of its tensors begin with."""

    node: Node
    prefix: str

    def parts(self) -> list[_Place]:
        """The parts of a chain; of other pieces they themselves."""
        if not isinstance(self.node, Chain):
            return [self]
        names = self.node.names()
        return [_Place(node, f"{self.prefix}{name}.") for name, node in zip(names, self.node.nodes, strict=True)]

    def branches(self) -> list[_Place]:
        """The branches of a join."""
        return [_Place(node, f"{self.prefix}branches.{index}.") for index, node in enumerate(branches_of(self.node))]

    def steps(self) -> list[_Place]:
        """The nodes of a graph, those with the weights of an earlier one at its place."""
        assert isinstance(self.node, Graph)
        own = list(range(len(self.node.steps)))
        for index, step in enumerate(self.node.steps):
            if step.weights_of is not None:
                own[index] = own[step.weights_of - self.node.inputs]
        return [_Place(step.node, f"{self.prefix}nodes.{at}.") for step, at in zip(self.node.steps, own, strict=True)]


class _Walk:
    """One walk through both networks, in the order in which they run."""

    def __init__(self, weights: Mapping[str, Tensor], module: Mapping[str, Tensor], seed: int) -> None:
        self._weights, self._module, self._seed = weights, module, seed
        self._matching = Matching()
        self.counts: dict[str, int] = {}
        """Numbers inherited by each tensor of the child."""

    def both(self, parent: _Place, child: _Place, value: Any, wanted: _Wanted | None = None) -> Any:
        """Pieces that stand at one place.

        Args:
            parent, child: the pieces.
            value: their input; a tuple where a cell has several.
            wanted: the map that the output should have, if it is open.
        """
        one, other = parent.node, child.node
        if isinstance(one, Graph) and isinstance(other, Graph) and one.inputs == other.inputs:
            return self._graph(parent, child, value)
        if isinstance(value, tuple):
            return self._after(parent, child, value)
        if type(one) is type(other) and branches_of(other):
            return self._branches(parent, child, value, wanted)
        apart = _has_branches(one) != _has_branches(other)  # only one of them is a sum: it is in the other, or around
        if (isinstance(one, Chain) or isinstance(other, Chain)) and not (apart and self._is_around(one, other)):
            return self._chain(parent, child, value, wanted)
        if branches_of(one) or branches_of(other):
            return self._around(parent, child, value, wanted)
        return self._leaf(parent, child, value, wanted) if type(one) is type(other) else value.then(one, other, False)

    def _is_around(self, one: Node, other: Node) -> bool:
        """Whether one piece is more like a branch of the other than like a part of it."""
        inside = self._matching.total(*(node.nodes if isinstance(node, Chain) else (node,) for node in (one, other)))
        return self._matching.total(*(branches_of(node) or (node,) for node in (one, other))) >= max(inside, 1)

    def _chain(self, parent: _Place, child: _Place, value: Value, wanted: _Wanted | None) -> Value:
        parents, children = parent.parts(), child.parts()
        makers = [index for index, part in enumerate(children) if _makes_channels(part.node)]
        for i, j in self._matching.pairs([part.node for part in parents], [part.node for part in children]):
            if j is None:
                assert i is not None
                value = value.then(parents[i].node, None, passes(parents[i].node, value))
            elif i is None:
                value = self._new(children[j], value)
            else:
                value = self.both(parents[i], children[j], value, wanted if j in makers[-1:] else None)
        return value

    def _branches(self, parent: _Place, child: _Place, value: Value, wanted: _Wanted | None) -> Value:
        parents, children = parent.branches(), child.branches()
        if len(parents) == len(children):
            partner: dict[int, int | None] = {index: index for index in range(len(children))}
        else:
            found = self._matching.pairs([each.node for each in parents], [each.node for each in children])
            partner = {j: i for i, j in found if j is not None}
        several = isinstance(child.node, Sum)
        wanted = wanted if several and _makes_channels(child.node) else None
        values: dict[int, Value] = {}
        # those whose map follows from their input come first: the others of a sum can have the same
        for index in sorted(partner, key=lambda j: (partner[j] is None, several and _makes_channels(children[j].node))):
            i = partner[index]
            if i is None:
                values[index] = self._new(children[index], value).unsure()
            else:
                values[index] = self.both(parents[i], children[index], value, wanted)
            if several and wanted is None:
                wanted = _Wanted(values[index].parent[0], values[index].channels)
        complete = len(parents) == len(children)
        ordered = [values[index] for index in sorted(values, key=lambda each: (partner[each] is None, each))]
        if several:
            out = added(ordered)
        elif complete:
            out = concatenated(ordered)
        else:
            out = Value.by_place(parent.node.shape(value.parent), child.node.shape(value.child))
        return out if complete else out.unsure()

    def _around(self, parent: _Place, child: _Place, value: Value, wanted: _Wanted | None) -> Value:
        """A piece and a join with a branch that is like it."""
        alike = self._matching.likeness
        parents, children = parent.branches() or [parent], child.branches() or [child]
        one, other = max(
            ((one, other) for one in parents for other in children), key=lambda pair: alike(pair[0].node, pair[1].node)
        )
        for each in children:
            if each is not other:
                self._new(each, value)
        out = self.both(one, other, value, None if isinstance(child.node, Concat) else wanted)
        shapes = parent.node.shape(value.parent), child.node.shape(value.child)
        ended: Value = out.unsure() if (out.parent, out.child) == shapes else Value.by_place(*shapes)
        return ended

    def _graph(self, parent: _Place, child: _Place, value: Any) -> Any:
        graph, own = parent.node, child.node
        assert isinstance(graph, Graph)
        assert isinstance(own, Graph)
        inputs = value if isinstance(value, tuple) else (value,)
        places, joined = graph.shapes(_one_or_all([each.parent for each in inputs]))
        values, own_joined = own.shapes(_one_or_all([each.child for each in inputs]))
        found: list[Value] = list(inputs)
        partner: list[int | None] = list(range(own.inputs))  # of each value of the child, the parent's
        steps = {j: i for i, j in self._matching.pairs(graph.children(), own.children()) if j is not None}
        first: dict[int, tuple[str, Any]] = {}  # where weights were first used: the parent's, and the input
        for index, step in enumerate(own.steps):
            i, entry = steps.get(index), _joined(step, [found[each] for each in step.inputs])
            if i is not None and _inputs(joined[i]) != _inputs(own_joined[index]):
                i = None  # a cell with several inputs and a piece with one say nothing of one another
            node = child.steps()[index]
            if i is None:
                found.append(self._new(node, entry) if isinstance(entry, Value) else self._after(None, node, entry))
                partner.append(None)
                continue
            theirs = graph.steps[i]
            wired = [partner[each] for each in step.inputs] == list(theirs.inputs)
            if not wired or (len(step.inputs) > 1 and step.join != theirs.join):
                entry = Value.by_place(joined[i], own_joined[index])
            shared = step.weights_of
            if shared is None:
                first[own.inputs + index] = parent.steps()[i].prefix, entry
                found.append(self.both(parent.steps()[i], node, entry))
            else:
                found.append(self._again(parent.steps()[i], node, entry, first.get(shared, ("", None))))
            partner.append(graph.inputs + i)
        last = found[-1]
        ended: Value = last if partner[-1] == len(places) - 1 else Value.by_place(places[-1], values[-1])
        return ended

    def _again(self, parent: _Place, child: _Place, value: Any, first: tuple[str, Any]) -> Any:
        """A step with the weights of an earlier one: they are there, and right if all was the same at that one."""
        kept = {name: tensor.clone() for name, tensor in self._module.items() if name.startswith(child.prefix)}
        out = self.both(parent, child, value)
        for name, tensor in kept.items():
            self._module[name].copy_(tensor)
        where, entry = first
        alike = isinstance(value, Value) and isinstance(entry, Value) and value.like(entry) and where == parent.prefix
        return out if alike else out.unsure()

    def _after(self, parent: _Place | None, child: _Place, value: tuple[Value, ...]) -> Value:
        """After pieces with several inputs that have nothing in common."""
        given: Any = tuple(each.child for each in value)
        taken: Any = tuple(each.parent for each in value)
        theirs = value[0].parent if parent is None else parent.node.shape(taken)
        out: Value = Value.by_place(theirs, child.node.shape(given))
        return out

    def _new(self, child: _Place, value: Value) -> Value:
        """A piece that the parent does not have: the identity if it can be, else as it was initialized."""
        node = child.node
        if isinstance(node, Chain):
            for part in child.parts():
                value = self._new(part, value)
            return value
        if type(node) is Sum and any(branch.is_view for branch in node.branches):
            zeros = [self._silenced(each, value.child) for each in child.branches() if not each.node.is_view]
            views = len(node.branches) - len(zeros)
            return replace(value.then(None, node, all(zeros) and views == 1), act=value.act if all(zeros) else "")
        return value.then(None, node, passes(node, value))

    def _silenced(self, child: _Place, given: Shape) -> bool:
        """Whether a body ends in a layer that could be set to zero, which then was."""
        for part in reversed(child.parts()):
            if isinstance(part.node, Chain):
                return self._silenced(part, given)
            if isinstance(part.node, Norm | layers.GroupNorm | Conv) and f"{part.prefix}weight" in self._module:
                for name in ("weight", "bias"):
                    if f"{part.prefix}{name}" in self._module:
                        self._module[f"{part.prefix}{name}"].zero_()
                return not (isinstance(part.node, Conv) and part.node.standardized)
            if isinstance(part.node, layers.Gain):
                return True  # it begins at zero
            if not isinstance(part.node, layers.DropPath | layers.Dropout | layers.Multiply | SqueezeExcite):
                return False
        return False

    # Layers

    def _leaf(self, parent: _Place, child: _Place, value: Value, wanted: _Wanted | None) -> Value:
        one, other = parent.node, child.node
        match other:
            case Conv():
                return self._conv(parent, child, value, wanted)
            case Linear():
                return self._linear(parent, child, value, wanted)
            case Norm(kind="batch" | "layer"):
                return self._norm(parent, child, value)
            case layers.GroupNorm() | layers.PReLU():
                for name in ("weight", "bias"):
                    self._take(parent, child, name, value.channels)
                alone = value.unchanged() or isinstance(other, layers.PReLU)  # whether a channel needs no other
                return replace(value.then(one, other, one == other and alone), act="")
            case SqueezeExcite():
                return self._squeeze_excite(parent, child, value)
            case layers.Flatten():
                return flattened(value, one.shape(value.parent), other.shape(value.child))
            case layers.Slice() | layers.Shuffle() | layers.Pad():
                return _selected(one, other, value)
            case layers.Act():
                once = other.kind in ("relu", "relu6") and other.scale == 1.0
                return replace(value.then(one, other, one == other), act=other.kind if once else "")
            case layers.Dropout() | layers.DropPath() | layers.Auxiliary():
                return value.then(one, other)
            case layers.Gain():
                self._copy(parent, child, "gain")
                return replace(value.then(one, other), act="")
            case layers.Multiply() | layers.Zero():
                return replace(value.then(one, other, one == other), act="")
        alike = one == other
        if type(other) in _EACH_CHANNEL:
            return value.then(one, other, alike)
        if alike and value.unchanged():
            mine = [name for name in self._module if name.startswith(child.prefix)]
            copied = [self._copy(parent, child, name.removeprefix(child.prefix)) for name in mine]
            alike = all(copied)
            shapes = one.shape(value.parent), other.shape(value.child)
            if shapes[0][0] == shapes[1][0]:  # however many channels it makes of those it takes
                return Value(*shapes, np.arange(shapes[0][0]), value.same and alike)
        return replace(value.then(one, other, alike and value.unchanged()), act="")

    def _copy(self, parent: _Place, child: _Place, name: str) -> bool:
        """Copy a tensor of a layer, if both have it in one shape."""
        own, theirs = self._module[child.prefix + name], self._weights.get(parent.prefix + name)
        if theirs is None or theirs.shape != own.shape:
            return False
        own.copy_(theirs)
        self.counts[child.prefix + name] = own.numel()
        return True

    def _take(self, parent: _Place, child: _Place, name: str, rows: Map) -> None:
        """Take over one number for each channel, if the child has it; a bias that the parent has not is zero."""
        import torch

        own, theirs = self._module.get(child.prefix + name), self._weights.get(parent.prefix + name)
        if own is None:
            return
        there = torch.from_numpy(rows >= 0)
        if theirs is not None:
            own[there] = theirs[torch.from_numpy(rows[rows >= 0])].to(own)
            self.counts[child.prefix + name] = own[there].numel()
        elif name == "bias":
            own[there] = 0.0

    def _conv(self, parent: _Place, child: _Place, value: Value, wanted: _Wanted | None) -> Value:
        one, other = parent.node, child.node
        assert isinstance(one, Conv)
        assert isinstance(other, Conv)
        rows = _rows(one, other, wanted)
        if all(
            depthwise(each) and shape[0] == each.width for each, shape in ((one, value.parent), (other, value.child))
        ):
            rows = value.channels
        read = Read.of(one, other, value, rows, self._rng(child.prefix))
        whole = self._weigh(parent, child, one, other, read)
        if one.standardized or other.standardized:  # by its mean and variance, which shares and zeros alter
            whole &= one.standardized and other.standardized and value.unchanged() and one.kernel_hw == other.kernel_hw
            self._take(parent, child, "gain", read.rows)
        self._take(parent, child, "bias", read.rows)
        whole &= other.bias or not one.bias
        shapes = one.shape(value.parent), other.shape(value.child)
        return Value(*shapes, read.rows, value.same and whole and shapes[0][1:] == shapes[1][1:])

    def _linear(self, parent: _Place, child: _Place, value: Value, wanted: _Wanted | None) -> Value:
        one, other = parent.node, child.node
        assert isinstance(one, Linear)
        assert isinstance(other, Linear)
        as_convs = Conv(one.width), Conv(other.width)  # of one pixel
        rows = _rows(one, other, wanted)
        read = Read.of(*as_convs, value, rows, self._rng(child.prefix))
        whole = self._weigh(parent, child, *as_convs, read)
        self._take(parent, child, "bias", rows)
        return Value((one.width,), (other.width,), rows, value.same and whole and (other.bias or not one.bias))

    def _norm(self, parent: _Place, child: _Place, value: Value) -> Value:
        one, other = parent.node, child.node
        assert isinstance(one, Norm)
        assert isinstance(other, Norm)
        if one.kind != other.kind:
            return value.then(one, other, False)
        for name in ("weight", "bias", "running_mean", "running_var"):
            self._take(parent, child, name, value.channels)
        if other.kind == "batch":
            self._copy(parent, child, "num_batches_tracked")
        counts = np.bincount(value.channels[value.channels >= 0], minlength=value.parent[0])
        evenly = other.kind == "batch" or len(set(counts.tolist())) == 1  # the mean and variance over channels
        return replace(value.then(one, other, one == other and evenly), act="")

    def _squeeze_excite(self, parent: _Place, child: _Place, value: Value) -> Value:
        one, other = parent.node, child.node
        assert isinstance(one, SqueezeExcite)
        assert isinstance(other, SqueezeExcite)
        pooled = Value((value.parent[0], 1, 1), (value.child[0], 1, 1), value.channels, value.same)
        wanted = _Wanted(value.parent[0], value.channels)
        for name, widths, rows in (
            ("reduce.", (one.reduced, other.reduced), None),
            ("expand.", (value.parent[0], value.child[0]), wanted),
        ):
            theirs, own = (Conv(width, bias=True) for width in widths)
            places = _Place(theirs, parent.prefix + name), _Place(own, child.prefix + name)
            pooled = self._conv(*places, pooled, rows)
        alike = (one.act, one.gate) == (other.act, other.gate)
        return replace(value.then(one, other, alike and pooled.same), act="")

    def _weigh(self, parent: _Place, child: _Place, one: Conv, other: Conv, read: Read) -> bool:
        """Take over the weight of a convolution or a linear layer; whether all of it could be."""
        import torch

        theirs, own = self._weights[f"{parent.prefix}weight"], self._module[f"{child.prefix}weight"]
        down, across, whole = taps(one, other)
        fresh = (read.rows < 0)[:, None] | (read.slots == -2)  # (output channels, inputs of a group, or 1 for all)
        fresh = np.broadcast_to(fresh, own.shape[:2])
        self.counts[f"{child.prefix}weight"] = int((~fresh).sum()) * other.kernel_hw[0] * other.kernel_hw[1]
        if theirs.shape == own.shape and whole and read.plain:
            own.copy_(theirs)
            return True
        theirs, own = (each[:, :, None, None] if each.dim() == 2 else each for each in (theirs.cpu(), own))
        rows, slots = torch.from_numpy(np.maximum(read.rows, 0)), torch.from_numpy(np.maximum(read.slots, 0))
        chosen = theirs.index_select(0, rows)
        if len(slots) == 1:
            chosen = chosen.index_select(1, slots[0])
        else:
            chosen = chosen[torch.arange(len(rows))[:, None], slots]
        chosen = chosen * torch.from_numpy(read.shares)[:, :, None, None].to(chosen)
        made = torch.zeros(own.shape, dtype=own.dtype)
        for tall, own_tall in down:
            for wide, own_wide in across:
                made[:, :, own_tall, own_wide] = chosen[:, :, tall, wide]
        if fresh.any():
            made = torch.where(torch.from_numpy(fresh.copy())[:, :, None, None], own.cpu(), made)
        own.copy_(made)
        return whole and read.whole

    def _rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(name.encode())])


_EACH_CHANNEL = (layers.Identity, layers.Pool, layers.GlobalPool, layers.Resize, layers.Shift)


def _rows(one: Conv | Linear, other: Conv | Linear, wanted: _Wanted | None) -> Map:
    """The map of a layer's output channels: the one that is wanted, if it is of as many."""
    if wanted is None or (wanted.parent, len(wanted.channels)) != (one.width, other.width):
        return stretched(one.width, other.width)
    return wanted.channels


def _has_branches(node: Node) -> bool:
    return bool(branches_of(node))


def _one_or_all(shapes: list[Shape]) -> Any:
    return shapes[0] if len(shapes) == 1 else tuple(shapes)


def _inputs(shape: Any) -> int:
    """Of a step, from the shape of what goes into it, or the shapes."""
    return len(shape) if isinstance(shape[0], tuple) else 1


def _joined(step: GraphStep, inputs: list[Value]) -> Any:
    """The input of a step's node."""
    if len(inputs) > 1 and step.join == "apart":
        return tuple(inputs)
    return concatenated(inputs) if step.join == "concat" else added(inputs)


def _makes_channels(node: Node) -> bool:
    """Whether the output's channels are others than the input's."""
    if isinstance(node, Chain):
        return any(map(_makes_channels, node.nodes))
    if isinstance(node, Sum):
        return all(map(_makes_channels, node.branches))
    if isinstance(node, Conv):
        return not depthwise(node)
    return isinstance(node, Linear | Concat | Graph | layers.Slice | layers.Shuffle | layers.Pad)


def _selected(one: Node, other: Node, value: Value) -> Value:
    """After layers that only move channels, drop some or append zeros."""
    shapes = one.shape(value.parent), other.shape(value.child)
    theirs, own = (_moves(node, shape[0]) for node, shape in ((one, value.parent), (other, value.child)))
    before = np.where(own < 0, -1, value.channels[np.maximum(own, 0)])
    back = np.full(value.parent[0], -1)
    back[theirs[theirs >= 0]] = np.flatnonzero(theirs >= 0)
    found = np.where(before < 0, -1, back[np.maximum(before, 0)])
    zeros = np.flatnonzero(theirs < 0)
    if len(zeros):
        found[own < 0] = zeros[stretched(len(zeros), int((own < 0).sum()))]
    if (found < 0).any():
        place: Value = Value.by_place(*shapes)
        return place
    return Value(*shapes, found, value.same and shapes[0][1:] == shapes[1][1:], value.act)


def _moves(node: Node, channels: int) -> Map:
    """For each output channel of a layer that moves channels the input channel, or -1 for zeros."""
    if isinstance(node, layers.Slice):
        return np.arange(node.start, node.stop)
    if isinstance(node, layers.Pad):
        return np.concatenate([np.arange(channels), np.full(node.width - channels, -1)])
    assert isinstance(node, layers.Shuffle)
    return np.arange(channels).reshape(node.groups, -1).T.ravel()
