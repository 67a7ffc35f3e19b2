"""The layer algebra: a network is a tree of small frozen values, the one source of its shapes, costs and module.

The leaves are here, with their output shapes and costs; `searchspaces.calls` has the torch module of each in one line.
What joins them (`Chain`, `Sum`, `Mean`, `Concat`, `Graph`) is in `searchspaces.joins`, and can be imported from here.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

from searchspaces.errors import UserError
from searchspaces.joins import Chain as Chain
from searchspaces.joins import Concat as Concat
from searchspaces.joins import Graph as Graph
from searchspaces.joins import GraphStep as GraphStep
from searchspaces.joins import Mean as Mean
from searchspaces.joins import Sum as Sum
from searchspaces.joins import leaves as leaves
from searchspaces.joins import uses as uses
from searchspaces.node import Count, OneOf, Pixels, Sides, Within, additive_costs, feature_map, layer, peak_values
from searchspaces.node import Node as Node
from searchspaces.node import ShapeError as ShapeError
from searchspaces.task import Shape, enlarged

ACTIVATIONS: Final = (
    "relu", "relu6", "silu", "hard_swish", "mish", "elu", "leaky_relu", "gelu", "sigmoid", "hard_sigmoid", "tanh",
)  # fmt: skip
"""Activations, without MACs and parameters; `silu` is swish."""

Activation = Annotated[str, OneOf(ACTIVATIONS)]


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@layer
class Conv(Node):
    """A convolution.

    Attributes:
        width: output channels.
        kernel: side in pixels, or (height, width).
        stride: in pixels, or (height, width).
        groups: of channels; as many as input channels for a depthwise convolution.
        bias: whether it has one for each output channel.
        padding: zeros on each side in pixels, or (height, width); None keeps the size at stride 1 with an odd kernel.
        dilation: distance between the taps of the kernel in pixels.
        standardized: weights standardized per output channel with a learnt gain (Brock 2021, arXiv:2102.06171,
            sec. 3), for networks without normalization.

    >>> Conv(64, kernel=7, stride=2).cost((3, 224, 224)).macs  # stem of ResNet-50
    118013952
    """

    width: Count
    kernel: Sides = 1
    stride: Sides = 1
    groups: Count = 1
    bias: bool = False
    padding: Annotated[int | tuple[int, int], Within(0)] | None = None
    dilation: Count = 1
    standardized: bool = False

    @property
    def kernel_hw(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return _pair(self.kernel)

    @property
    def stride_hw(self) -> tuple[int, int]:
        """Vertical and horizontal stride."""
        return _pair(self.stride)

    @property
    def padding_hw(self) -> tuple[int, int]:
        """Zeros above and below, and left and right."""
        if self.padding is not None:
            return _pair(self.padding)
        return (self.kernel_hw[0] - 1) * self.dilation // 2, (self.kernel_hw[1] - 1) * self.dilation // 2

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = feature_map(self, given)
        if channels % self.groups or self.width % self.groups:
            raise ShapeError(
                f"{self} cannot split {channels} input and {self.width} output channels into {self.groups} groups"
            )
        (kernel_h, kernel_w), (pad_h, pad_w), dilation = self.kernel_hw, self.padding_hw, self.dilation
        out_h = (height + 2 * pad_h - dilation * (kernel_h - 1) - 1) // self.stride_hw[0] + 1
        out_w = (width + 2 * pad_w - dilation * (kernel_w - 1) - 1) // self.stride_hw[1] + 1
        if out_h < 1 or out_w < 1:
            raise ShapeError(f"{self} does not fit into a feature map of {height}x{width}")
        return (self.width, out_h, out_w)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        out = math.prod(self.shape(given))
        kernel_h, kernel_w = self.kernel_hw
        weights_per_output = given[0] // self.groups * kernel_h * kernel_w
        params = self.width * (weights_per_output + self.bias + self.standardized)
        return out * weights_per_output, params, out


@layer
class Linear(Node):
    """A fully connected layer on a flat vector.

    Attributes:
        width: output features.
        bias: whether it has one for each of them.
        drop_connect: DropConnect (Wan 2013, ICML): the rate at which training sets single weights to zero, anew in each
            step. Departures: the same weights for all images of a step, and the mean network in evaluation, where the
            paper draws from a normal distribution.

    >>> Linear(1000).cost((1280,))
    Cost(macs=1280000, params=1281000, activations=0, peak_activation_bytes=9120, latency_us=None)
    """

    width: Count
    bias: bool = True
    drop_connect: Annotated[float, Within(0, 1)] = 0.0

    def _shape(self, given: Shape) -> Shape:
        if len(given) != 1:
            raise ShapeError(f"{self} needs a flat vector, got shape {given}; put Flatten() before it")
        return (self.width,)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        return given[0] * self.width, self.width * (given[0] + self.bias), 0


class Elementwise(Node):
    """A layer that keeps the shape of its input and may work in place."""

    in_place = True

    def _shape(self, given: Shape) -> Shape:
        return given


@layer
class Norm(Elementwise):
    """Normalization.

    Attributes:
        kind: `batch`: batch normalization, with a scale and a shift per channel. `layer`: layer normalization over
            channels at each pixel, as in ConvNeXt (Liu 2022, arXiv:2201.03545, sec. 2.6), with the same parameters.
            `local_response`: Krizhevsky 2012, sec. 3.3, without parameters, on feature maps.
        eps: added to the variance; None for 1e-5 (`batch`) or 1e-6 (`layer`). `local_response` has a constant instead.

    >>> Norm("layer").cost((96, 56, 56)).params
    192
    """

    kind: Literal["batch", "layer", "local_response"] = "batch"
    eps: Annotated[float, Within(0, above=True)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "local_response" and self.eps is not None:
            raise UserError(f"Norm: local_response has no eps, got {self.eps!r}")

    def _shape(self, given: Shape) -> Shape:
        return feature_map(self, given) if self.kind == "local_response" else given

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        return 0, 0 if self.kind == "local_response" else 2 * given[0], 0


@layer
class GroupNorm(Elementwise):
    """Normalization over groups of channels and all pixels of an image (Wu & He 2018, arXiv:1803.08494).

    It has a scale and a shift per channel, as batch normalization has.

    Attributes:
        groups: of channels; 32 in the paper. With 1 it is layer normalization over the whole image.

    >>> GroupNorm().cost((64, 56, 56)).params
    128
    """

    groups: Count = 32

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = feature_map(self, given)
        if channels % self.groups:
            raise ShapeError(f"{self} cannot split {channels} channels into {self.groups} groups")
        if channels * height * width == self.groups:
            raise ShapeError(f"{self} needs more than one value in a group, got shape {given}")
        return given

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        return 0, 2 * given[0], 0


@layer
class PReLU(Elementwise):
    """max(x, 0) + a * min(x, 0), the slope a learnt per channel, 0.25 at first (He 2015, arXiv:1502.01852, sec. 2.1).

    >>> PReLU().cost((64, 56, 56)).params
    64
    """

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        return 0, given[0], 0


@layer
class Act(Elementwise):
    """An activation function, one of `ACTIVATIONS`; its output is multiplied by `scale`."""

    kind: Activation = "relu"
    scale: float = 1.0


@layer
class Dropout(Elementwise):
    """Dropout of single values at a rate, during training only."""

    rate: Annotated[float, Within(0, 1)] = 0.2


@layer
class DropPath(Elementwise):
    """Stochastic depth (Huang 2016, arXiv:1603.09382): during training it zeroes its whole input at random, per image.

    Its rate is a setting of training and not of the architecture: `build(..., drop_path=0.2)` sets it, rising linearly
    from the first `DropPath` of the network to the last (sec. 3, eq. 4).
    """


@layer
class Multiply(Elementwise):
    """The input times a constant: residual scaling (Szegedy 2016, arXiv:1602.07261, sec. 3.3)."""

    factor: float


@layer
class Gain(Elementwise):
    """The input times one learnt number, initially 0: SkipInit (De & Smith 2020, arXiv:2002.10444)."""

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        return 0, 1, 0


@layer
class Identity(Elementwise):
    """The input itself."""

    @property
    def is_view(self) -> bool:
        return True

    def _peak(self, given: Shape, keep: bool) -> int:
        return math.prod(given)


@layer
class Auxiliary(Identity):
    """The place of an auxiliary classifier, used during training only (Szegedy 2015, arXiv:1409.4842, sec. 5).

    It costs nothing, and its head is not built unless `build(..., auxiliary=True)` asks for it.

    Attributes:
        head: from the feature map at this place to logits.
    """

    head: Node


@layer
class Zero(Node):
    """Zeros of the input's shape, after a stride: the operation `none` of NAS-Bench-201 (arXiv:2001.00326, sec. 3.1).

    >>> Zero(stride=2).shape((16, 15, 15))
    (16, 8, 8)
    """

    stride: Count = 1

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = feature_map(self, given)
        return (channels, -(-height // self.stride), -(-width // self.stride))


@layer
class Pool(Node):
    """Max or average pooling; the average does not count padding.

    Attributes:
        kind: `max` or `avg`.
        kernel: side of the window in pixels.
        stride: in pixels.
        padding: on each side in pixels, half the kernel at most; None keeps the size at stride 1 with an odd kernel.
        ceil: whether the output size is rounded up, so that a last, incomplete window counts.
    """

    kind: Literal["max", "avg"] = "max"
    kernel: Count = 3
    stride: Count = 2
    padding: Pixels | None = None
    ceil: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 * self.padding_side > self.kernel:
            raise UserError(f"Pool: padding must be at most half of the kernel of {self.kernel}, got {self.padding}")

    @property
    def padding_side(self) -> int:
        """Padding on each side in pixels."""
        return (self.kernel - 1) // 2 if self.padding is None else self.padding

    def windows(self, side: int) -> tuple[int, bool]:
        """How many windows a side of the image has, and whether torch leaves out the incomplete one of `ceil`.

        It does so for a window that would start in the padding after the image.
        """
        free = side + 2 * self.padding_side - self.kernel
        count = (-(-free // self.stride) if self.ceil else free // self.stride) + 1
        left_out = self.ceil and (count - 1) * self.stride >= side + self.padding_side
        return count - left_out, left_out

    def rounds_up(self, given: Shape) -> tuple[bool, bool]:
        """Whether `ceil` adds a window to the height, and to the width, of an input shape."""
        height, width = (
            self.windows(side)[0] > (side + 2 * self.padding_side - self.kernel) // self.stride + 1
            for side in given[1:]
        )
        return height, width

    def is_in_two_steps(self, given: Shape) -> bool:
        """Whether the height is pooled first and then the width.

        So it is where `ceil` adds a window to one side only, because torch leaves out that of the other: ONNX counts
        the windows of both sides or of neither.
        """
        return any(self.rounds_up(given)) and any(self.windows(side)[1] for side in given[1:])

    def _peak(self, given: Shape, keep: bool) -> int:
        if not self.is_in_two_steps(given):
            return super()._peak(given, keep)
        (channels, _, width), out = given, self.shape(given)
        between = channels * out[1] * width
        size = math.prod(given)
        return between + max(size, math.prod(out) + (size if keep else 0))

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = feature_map(self, given)
        sides = self.windows(height)[0], self.windows(width)[0]
        if min(sides) < 1:
            raise ShapeError(f"{self} does not fit into a feature map of {height}x{width}")
        return (channels, *sides)


@layer
class GlobalPool(Node):
    """Average or maximum over all pixels: (c, h, w) to (c, 1, 1)."""

    kind: Literal["avg", "max"] = "avg"

    def _shape(self, given: Shape) -> Shape:
        channels, _, _ = feature_map(self, given)
        return (channels, 1, 1)


@layer
class Flatten(Node):
    """A feature map as a flat vector, in the same memory."""

    in_place = True

    @property
    def is_view(self) -> bool:
        return True

    def _shape(self, given: Shape) -> Shape:
        return (math.prod(given),)

    def _peak(self, given: Shape, keep: bool) -> int:
        return math.prod(given)


@layer
class SqueezeExcite(Node):
    """Channels weighted by a gate on their means over the image (Hu 2018, arXiv:1709.01507, sec. 3).

    Attributes:
        reduced: channels between its two 1x1 convolutions, which have biases.
        act: activation between them.
        gate: activation after them.

    >>> SqueezeExcite(8).cost((32, 112, 112)).params  # first block of EfficientNet-B0: 32*8 + 8 + 8*32 + 32
    552
    """

    reduced: Count
    act: Activation = "relu"
    gate: Literal["sigmoid", "hard_sigmoid"] = "sigmoid"

    def _shape(self, given: Shape) -> Shape:
        return feature_map(self, given)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        channels = given[0]
        macs = 2 * channels * self.reduced
        return macs, macs + self.reduced + channels, self.reduced + channels

    def _peak(self, given: Shape, keep: bool) -> int:
        size, gate = math.prod(given), given[0] + self.reduced  # the two vectors of the gate
        return size + max(gate, given[0] + (size if keep else 0))


@layer
class SpatialTransformer(Node):
    """The input sampled on an affine grid that a small network decides for each image (Jaderberg 2015, 1506.02025).

    The localisation network (sec. 3.1) regresses the six numbers of the transformation; the grid (sec. 3.2) begins as
    the identity. Sampling is bilinear (sec. 3.3), with zeros outside of the input. Departure: the convolutions of the
    localisation network have a stride in place of max pooling.

    Attributes:
        hidden: features of the localisation network's hidden layer.
        width: channels of its two convolutions, before it; 0 for a localisation network that is fully connected.
        kernel: side of their kernels in pixels.

    >>> SpatialTransformer(32).cost((1, 28, 28)).params  # 784*32 + 32, and 32*6 + 6
    25318
    """

    hidden: Count = 32
    width: Annotated[int, Within(0)] = 0
    kernel: Count = 5

    @property
    def localisation(self) -> Chain:
        """The localisation network, without the regression."""
        conv = Conv(self.width, self.kernel, stride=2, bias=True, padding=self.kernel // 2) if self.width else None
        convs = () if conv is None else (conv, Act(), conv, Act())
        return Chain(*convs, Flatten(), Linear(self.hidden), Act())

    def _shape(self, given: Shape) -> Shape:
        return feature_map(self, given)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        macs, params, activations = additive_costs(self.localisation, given)
        return macs + 6 * self.hidden, params + 6 * self.hidden + 6, activations

    def _peak(self, given: Shape, keep: bool) -> int:
        size, grid = math.prod(given), 2 * math.prod(given[1:])
        return max(peak_values(self.localisation, given, True), size + grid + max(size, self.hidden))


@layer
class Slice(Node):
    """The channels from `start` up to, but not including, `stop`."""

    start: Annotated[int, Within(0)]
    stop: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start >= self.stop:
            raise UserError(f"Slice: start must be below stop, got {self.start} and {self.stop}")

    def _shape(self, given: Shape) -> Shape:
        if self.stop > given[0]:
            raise ShapeError(f"{self} needs {self.stop} channels, got {given[0]}")
        return (self.stop - self.start, *given[1:])


@layer
class Maxout(Node):
    """The largest of each group of neighbouring channels (Goodfellow 2013, arXiv:1302.4389).

    A maxout layer of `width` units is `Chain(Conv(width * pieces), Maxout(pieces))`.

    Attributes:
        pieces: channels of a group (k).

    >>> Maxout(2).shape((64, 28, 28))
    (32, 28, 28)
    """

    pieces: Count = 2

    def _shape(self, given: Shape) -> Shape:
        if given[0] % self.pieces:
            raise ShapeError(f"{self} cannot split {given[0]} channels into groups of {self.pieces}")
        return (given[0] // self.pieces, *given[1:])


@layer
class Gate(Node):
    """The first half of the channels times the sigmoid of the second: a gated linear unit (Dauphin 2017, 1612.08083).

    A highway network's layer, T * H + (1 - T) * x (Srivastava 2015, arXiv:1505.00387, eq. 3), is a residual with one:
    `Sum(Identity(), Chain(Concat(Sum(H, Multiply(-1.0)), T), Gate(-2.0)))`.

    Attributes:
        shift: added before the sigmoid. A negative one, the initial bias of a highway network's gate (sec. 2.2), lets a
            new layer carry its input.

    >>> Gate().shape((100,))
    (50,)
    """

    shift: float = 0.0

    def _shape(self, given: Shape) -> Shape:
        if given[0] % 2:
            raise ShapeError(f"{self} cannot halve {given[0]} channels")
        return (given[0] // 2, *given[1:])


@layer
class Shuffle(Node):
    """Channels of groups interleaved (ShuffleNet, Zhang 2018, arXiv:1707.01083, sec. 3.1)."""

    groups: Count

    def _shape(self, given: Shape) -> Shape:
        channels, _, _ = feature_map(self, given)
        if channels % self.groups:
            raise ShapeError(f"{self} cannot split {channels} channels into {self.groups} groups")
        return given


@layer
class Pad(Node):
    """Channels of zeros appended up to `width` channels (shortcut A of He 2016, arXiv:1512.03385, sec. 3.3)."""

    width: Count

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = feature_map(self, given)
        if channels > self.width:
            raise ShapeError(f"{self} takes {self.width} channels at most, got {channels}")
        return (self.width, height, width)


@layer
class Resize(Node):
    """Bilinear interpolation to `factor` times the height and width: the input at a higher resolution.

    >>> Resize(1.15).shape((3, 224, 224))
    (3, 258, 258)
    """

    factor: Annotated[float, Within(0, above=True)]

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = feature_map(self, given)
        shape = (channels, enlarged(height, self.factor), enlarged(width, self.factor))
        if min(shape) < 1:
            raise ShapeError(f"{self} leaves no pixel of a feature map of {height}x{width}")
        return shape


@layer
class Shift(Node):
    """A shift by one pixel up and left; the last row and column are zero (second path of NASNet's reduction cell)."""

    def _shape(self, given: Shape) -> Shape:
        return feature_map(self, given)
