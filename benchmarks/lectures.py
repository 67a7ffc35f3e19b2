"""The items of the five lectures, in their order: what each prints, what is here, and why where the two differ.

`benchmarks.literature` makes `docs/literature.md` of them.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.literature import Figure, Item, Lecture, count, net, published
from nas.layer_types import layer_types
from nas.networks import cost_document
from searchspaces import CLASSICS, Factors, Task, classic
from searchspaces.classics.accuracies import published_accuracies
from searchspaces.layers import Chain, Concat, Conv, Flatten, Linear, Pool, leaves
from searchspaces.mbconv import mbconv
from searchspaces.receptive_field import receptive_field

TRAIN: Final = "nas train resnet20 --data DATA"
NO_IMAGENET: Final = "nothing was trained on ImageNet here"
NO_CIFAR: Final = "no training of 200 epochs on CIFAR was run here"
ENSEMBLE: Final = (
    "the lecture's error is an ensemble's on the test set; `nas evaluate TRAINED TRAINED` averages several"
)
PRINCIPLE: Final = "a principle, not a network or a setting"
OTHER_TASKS: Final = "no detection, localization, segmentation or counting here: the project classifies images"


def _setting(what: str, settings: str, here: str, printed: str = "", why: str = "", network: str = "resnet20") -> Item:
    """The row of a setting of training."""
    command = " ".join([f"nas train {network} --data DATA", *(f"--set {each}" for each in settings.split())])
    return Item(what, command, here, printed, why)


def _layer(what: str, expression: str, here: str, printed: str = "", why: str = "") -> Item:
    return Item(what, expression, here, printed, why)


# The first: ResNet and EfficientNet

_DEGRADATION: Final = Item(
    "Degradation: a plain network of 56 layers trains worse than one of 20 on CIFAR-10",
    "python examples/degradation.py --data DATA --image-size 16 --images 10000 --epochs 60",
    "training losses after 8,400 steps: plain-20 0.980, plain-56 1.808; ResNet-20 0.690, ResNet-56 0.670",
    "curves of training and test error; a ResNet's fall with depth",
    "half of the widths, 9,000 images, one seed; ResNet-56 trains better than ResNet-20 and validates worse, 65.6 "
    "against 69.4 %",
)
_SURFACE: Final = Item(
    "Loss around the minimum of ResNet-56, with and without shortcuts",
    "python examples/loss_surface.py TRAINED TRAINED",
    "loss surfaces of the given networks, along two random filter-normalized directions",
    "a smooth and a rugged surface",
    "of networks that you trained yourself",
)


def _resnet(layers: int, printed: str, accuracy: str = "", why: str = "") -> Item:
    """A row of the table of ResNets: parameters without those of the classifier, as the lecture counts them."""
    name = f"resnet{layers}"
    network = classic(name)
    features = network.cost().params - 1000 * (
        network.cost(Task(classes=2)).params - network.cost(Task(classes=1)).params
    )
    figure = Figure("parameters before the classifier", features, printed)
    here, error = (
        f"{network.cost().params / 1e6:.1f}M in all, {published(name, network.task)}",
        accuracy and f"error {accuracy}",
    )
    return Item(f"ResNet-{layers}", f"nas cost {name}", here, error, why, (figure,))


def _stages_of_b0() -> str:
    """How many of the nine stages of EfficientNet-B0 have the channels and layers of the lecture's table."""
    printed = [(32, 1), (16, 1), (24, 2), (40, 2), (80, 3), (112, 3), (192, 4), (320, 1), (1000, 1)]
    stages = cost_document("efficientnet_b0")["stages"]
    ours = [(one["output"][0], one["blocks"]) for one in stages]
    return f"{sum(a == b for a, b in zip(ours, printed, strict=True))} of 9 stages with these channels and layers"


FIRST: Final = Lecture(
    "Convolution Neural Networks II (Týbl, Charles University)",
    (
        net("Blocks of convolution, activation and pooling, then flattening and fully connected layers", "alexnet"),
        _DEGRADATION,
        Item(
            "Residual block of two 3x3 convolutions, without stride",
            "nas show resnet20",
            "x + F(x), then ReLU; batch norm after each convolution",
            "ReLU(BN(F(I) + I))",
            "the definition has one norm after the sum; the paper (fig. 2, sec. 3.4) and its code have one after each "
            "convolution, before the sum, as here",
        ),
        Item(
            "Residual block with stride 2 and a 1x1 projection",
            "nas show resnet18",
            "1x1 /2 parallel to 3x3 /2 and 3x3 in the first block of stages 2 to 4",
            "ReLU(BN(F(I) + P * I))",
            "norms as above",
        ),
        net("VGG-19", "vgg19", macs="19.6G"),
        net("Plain network of 34 layers", "plain34", macs="3.6G"),
        net(
            "ResNet of 34 layers",
            "resnet34",
            macs="3.6G",
            why="the paper's 3.6 is of identity shortcuts (A); torchvision's projections (B) take more",
        ),
        *(net(f"ResNet-{layers} on CIFAR-10", f"resnet{layers}") for layers in (20, 32, 44, 56, 110)),
        _SURFACE,
        _resnet(18, "11.2M"),
        _resnet(34, "23.1M", "21.84 %", "21.3M are counted, so 23.1M has two digits exchanged"),
        _resnet(
            50,
            "23.5M",
            "21.53 %",
            "the error is that of ResNet-34 C in the paper's table 4, which has 20.74 % for ResNet-50",
        ),
        _resnet(101, "42.5M", "19.87 %"),
        _resnet(152, "58.2M", "19.38 %", "58.14M are counted"),
        Item(
            "Better results by newer training (ResNet strikes back)",
            "nas classics resnet50 --json",
            f"{published('resnet50', Task())}, with their recipes; `nas train` has its augmentation",
            "cited",
            "LAMB and binary cross-entropy are not here: torch has no LAMB, which is for very large batches",
        ),
        Item(
            "Squeeze-and-excitation block with reduction r",
            "nas cost seresnet50 --by type",
            "a layer; its ratio is a decision of `mbconv` and `resnet`",
            "C to C/r to C, sigmoid",
        ),
        count(
            "Edge detection as a product of a column and a row",
            "Chain(Conv(1, (3, 1)), Conv(1, (1, 3)))",
            Chain(Conv(1, (3, 1)), Conv(1, (1, 3))).cost((1, 9, 9)).params,
            "6",
            "parameters, in place of 9",
            here="factorized kernels are in Inception-v3 and NASNet",
        ),
        count(
            "Depth-wise convolution: c Dk² Df², here with c = 32, Dk = 3, Df = 112",
            "Conv(32, 3, groups=32)",
            Conv(32, 3, groups=32).cost((32, 112, 112)).macs,
            f"{32 * 3**2 * 112**2:,}",
            "multiplications",
        ),
        count(
            "Point-wise convolution: c Df² c', here to c' = 64",
            "Conv(64)",
            Conv(64).cost((32, 112, 112)).macs,
            f"{32 * 112**2 * 64:,}",
            "multiplications",
        ),
        count(
            "Separable convolution: the sum of both",
            "Chain(Conv(32, 3, groups=32), Conv(64))",
            Chain(Conv(32, 3, groups=32), Conv(64)).cost((32, 112, 112)).macs,
            f"{32 * 3**2 * 112**2 + 32 * 112**2 * 64:,}",
            "multiplications",
        ),
        count(
            "A general convolution: c Dk² Df² c'",
            "Conv(64, 3)",
            Conv(64, 3).cost((32, 112, 112)).macs,
            f"{32 * 3**2 * 112**2 * 64:,}",
            "multiplications",
        ),
        Item(
            "MBConv: expansion, depth-wise, squeeze-and-excitation, projection, shortcut",
            "nas space mbconv",
            "a cell of the spaces `mbconv`, `mbconv-blocks`, `efficientnetv2` and `mixed`",
            "r = 4 in the picture, 6 in the table",
        ),
        Item("EfficientNet-B0, stage by stage", "nas show efficientnet_b0", _stages_of_b0(), "9 stages"),
        Item(
            "Compound scaling: 1.1² · 1.2 · 1.15² ~ 2",
            "nas scale efficientnet_b0 --coefficients 1.2,1.1,1.15",
            f"{Factors(1.2, 1.1, 1.15).formula:.2f} by the formula, 2.57 times B0 in true MACs",
            "about 2",
            "each of the seven stages gets one more block, since depths are rounded up",
        ),
        Item(
            "EfficientNets and ResNets on ImageNet (fig. 10)",
            "nas classics efficientnet --sort top1 --plot classics.html",
            f"B0 {published('efficientnet_b0', Task())}; ResNet-50, 10 times the MACs, {published('resnet50', Task())}",
            "EfficientNet is consistently above",
            "true with the recipes of their own years; with newer recipes the ranges overlap",
        ),
    ),
)


# The second: architectures


def _inception_examples() -> tuple[Item, Item]:
    given, pool = (256, 28, 28), Pool("max", 3, 1)
    naive = Concat(Conv(128), Conv(192, 3), Conv(96, 5), pool).cost(given).macs
    reduced = Concat(Conv(128), Chain(Conv(64), Conv(192, 3)), Chain(Conv(64), Conv(96, 5)), Chain(pool, Conv(64)))
    command = "python -m benchmarks.classics"
    return (
        count("Naive Inception module on 28x28x256", command, naive, "854M", "MACs"),
        count(
            "Inception module with 1x1 reductions",
            command,
            reduced.cost(given).macs,
            "358M",
            "MACs",
            "the terms that are printed add up to 271M; 358M counts the 3x3 convolution twice",
        ),
    )


def _vgg_stack() -> tuple[Item, ...]:
    one, stack, large = Conv(64, 3), Chain(Conv(64, 3), Conv(64, 3), Conv(64, 3)), Conv(64, 7)
    given = (64, 56, 56)
    side, square = (receptive_field(each, given) for each in (stack, large))
    assert side is not None
    assert side == square
    two = receptive_field(Chain(one, one), given)
    assert two is not None
    python = "python -m pytest --doctest-modules searchspaces/receptive_field.py"
    return (
        count("Two 3x3 convolutions see 5x5 pixels", python, two[0], "5", "pixels a side"),
        count("Three 3x3 convolutions see as much as one 7x7", python, side[0], "7", "pixels a side"),
        count("They have 3 (3² C²) parameters", python, stack.cost(given).params / 64**2, "27", "C²"),
        count("in place of 7² C²", python, large.cost(given).params / 64**2, "49", "C²"),
    )


ACTIVATIONS: Final = (
    _layer("Sigmoid", 'Act("sigmoid")', "an activation"),
    _layer("tanh", 'Act("tanh")', "an activation; LeNet-5 has it"),
    _layer("ReLU", 'Act("relu")', "an activation, of most networks"),
    _layer("Leaky ReLU", 'Act("leaky_relu")', "slope 0.1", "max(0.1x, x), later max(0.01x, x)", "the first of the two"),
    _layer("PReLU", "PReLU()", "a slope learned per channel, initially 0.25", "max(αx, x)"),
    _layer("Maxout", "Maxout(2)", "the largest of k channels", "max(w₁ᵀx + b₁, w₂ᵀx + b₂)"),
    _layer(
        "ELU", 'Act("elu")', "an activation; ResNets with it are `elu_resnet20` to `elu_resnet110`", "α(eˣ − 1) below 0"
    ),
    _layer("Mish", 'Act("mish")', "an activation", "x tanh(ln(1 + eˣ))"),
    _layer("Swish", 'Act("silu")', "an activation, called silu; EfficientNet's", "x / (1 + e⁻ˣ)"),
)

SECOND: Final = Lecture(
    "Lecture 6: CNNs I, architectures (Gao)",
    (
        count(
            "A full connection of 200x200x3 pixels to 1,000 units",
            "Chain(Flatten(), Linear(1000, bias=False))",
            Chain(Flatten(), Linear(1000, bias=False)).cost((3, 200, 200)).params,
            "120M",
            "parameters",
        ),
        Item(
            "Local connectivity: receptive fields",
            "nas show vgg16",
            "the column `sees`, for each block",
            "a patch of the image",
        ),
        Item(
            "Features of a trained network",
            "nas predict TRAINED IMAGE --explain maps.html",
            "class activation maps",
            "pictures",
        ),
        Item(
            "2D convolution, A_st B_(i−s, j−t)",
            "Conv(16, 3)",
            "cross-correlation, as in torch",
            "convolution, the kernel mirrored",
            "the same set of functions, since the weights are learned",
        ),
        Item(
            "Six 5x5 filters on 32x32x3",
            "Conv(6, 5, padding=0)",
            "x".join(map(str, Conv(6, 5, padding=0).shape((3, 32, 32))[::-1])),
            "28x28x6",
        ),
        Item(
            "Filters as pictures",
            "nas show TRAINED --filters filters.png",
            "those of the first convolution",
            "32 of 5x5",
        ),
        Item(
            "1x1 convolution (Network in Network)", "nas cost nin", "966,986 parameters on CIFAR-10", "reduces channels"
        ),
        count(
            "7x7 input, 3x3 filter",
            "Conv(1, 3, padding=0)",
            Conv(1, 3, padding=0).shape((1, 7, 7))[1],
            "5",
            "pixels a side",
        ),
        count(
            "the same with stride 2",
            "Conv(1, 3, 2, padding=0)",
            Conv(1, 3, 2, padding=0).shape((1, 7, 7))[1],
            "3",
            "pixels a side",
        ),
        count("the same with a border of 1 pixel", "Conv(1, 3)", Conv(1, 3).shape((1, 7, 7))[1], "7", "pixels a side"),
        Item(
            "Ten 5x5 filters on 32x32x3, padding 2",
            "Conv(10, 5, bias=True)",
            "x".join(map(str, Conv(10, 5).shape((3, 32, 32))[::-1])),
            "32x32x10",
            "",
            (Figure("parameters", Conv(10, 5, bias=True).cost((3, 32, 32)).params, "760"),),
        ),
        Item(
            "Size after a convolution, (W − F + 2P)/S + 1",
            "Conv(8, 3, 2, padding=1)",
            "`shape` of the layer, rounded down",
            "the formula",
        ),
        *ACTIVATIONS,
        count(
            "Max pooling with 2x2 filters and stride 2",
            'Pool("max", 2, 2)',
            Pool("max", 2, 2).shape((1, 4, 4))[1],
            "2",
            "pixels a side of 4",
        ),
        count("Pooling has no parameters", 'Pool("avg")', Pool("avg").cost((8, 8, 8)).params, "0", "parameters"),
        Item("Equivariance of convolution to translation", "", "", "a property", PRINCIPLE),
        Item(
            "Group-equivariant networks, capsules",
            "",
            "",
            "cited",
            "refused: their maps have a pose for each pixel, which no layer here has, and the lecture gives no network",
        ),
        net(
            "LeNet-5",
            "lenet5",
        ),
        Item(
            "AlexNet, layer by layer on 227x227x3",
            "nas show alexnet_2012",
            "55x55x96, 27x27x96, 27x27x256, 13x13x256, 13x13x384 twice, 13x13x256, 6x6x256, 4096, 4096, 1000",
            "the same maps",
            "the paper's 224 pixels give these maps with 2 pixels of padding; three convolutions are in two groups, "
            "`alexnet_tower` without",
        ),
        _layer(
            "Local contrast normalization", 'Norm("local_response")', "local response normalization, as in the paper"
        ),
        _setting("AlexNet: dropout 0.5", "dropout=0.5", "0.5 is the network's own", network="alexnet_2012"),
        _setting(
            "AlexNet: batch 128, momentum 0.9, rate 0.01 divided by 10 on plateaus, weight decay 5e-4",
            "batch=128 lr=0.01 schedule=plateau weight_decay=5e-4",
            "momentum 0.9 is the default",
            network="alexnet_2012",
        ),
        Item(
            "AlexNet: heavy data augmentation",
            TRAIN,
            "crops, mirroring, RandAugment, mixup, CutMix",
            "crops, mirroring, colours",
        ),
        Item(
            "AlexNet: 7 networks, error 18.2 to 15.4 %",
            "nas evaluate TRAINED TRAINED",
            "averages the probabilities of several",
            "18.2 %, 15.4 %",
            NO_IMAGENET,
        ),
        net(
            "ZFNet: 7x7 of stride 2, then 512, 1024, 512 filters",
            "zfnet_ilsvrc",
            printed="top-5 error 11.7 %",
            why=f"{NO_IMAGENET}; the paper's fig. 3 network is `zfnet`",
        ),
        net("VGG-16", "vgg16", accuracy="top-5 error 7.3 %", why=ENSEMBLE),
        net("VGG-19", "vgg19", accuracy="top-5 error 7.3 %", why=ENSEMBLE),
        *_vgg_stack(),
        net(
            "GoogLeNet, 22 layers",
            "googlenet",
            params="5M",
            printed="top-5 error 6.7 %",
            why="the paper's table 1 adds up to 6,798K, with 1,024 to the K: 6.96M",
        ),
        count(
            "GoogLeNet has 12 times fewer parameters than AlexNet",
            "nas classics googlenet",
            classic("alexnet_2012").cost().params / classic("googlenet").cost().params,
            "12",
            "times",
            "from the 5M above; here 61.0M over 7.0M",
        ),
        *_inception_examples(),
        Item(
            "Inception module as a cell",
            "nas space inception",
            "widths, kernels and reductions are decisions",
            "multiple kernel sizes side by side",
        ),
        Item(
            "1x1 convolution as a fully connected layer on each pixel",
            "Conv(64)",
            "the same layer",
            "an interpretation",
        ),
        Item(
            "Auxiliary classifiers",
            "nas train googlenet --data DATA --set auxiliary=0.3",
            "two heads, weight 0.3, dropped after training",
            "AvgPool-1x1Conv-FC-FC-Softmax",
            "off by default: these networks have batch norm",
        ),
        Item("Global average pooling in place of fully connected layers", "GlobalPool()", "a layer", "no FC layers"),
        net("ResNet-152", "resnet152", accuracy="top-5 error 3.57 %", why=ENSEMBLE),
        _DEGRADATION,
        Item(
            "Bottleneck block: 1x1, 3x3, 1x1",
            "nas show resnet50",
            "1x1 64, 3x3 64, 1x1 256",
            "28x28x256 to 64 and back",
        ),
        *(net(f"ResNet of {layers} layers", f"resnet{layers}") for layers in (34, 50, 101)),
        Item("Batch normalization after every convolution", "nas show resnet50", "in all ResNets"),
        _setting("Xavier/2 initialization of He", "initialization=he", "He 2015, by fan-in; by default by fan-out"),
        Item("SGD with momentum 0.9", f"{TRAIN} --recipe resnet", "0.9", "0.9"),
        _setting(
            "Rate 0.1, divided by 10 on plateaus",
            "lr=0.1 schedule=plateau",
            "after 5 epochs without improvement; `resnet` divides at half and three quarters",
        ),
        _setting("Mini-batch of 256", "batch=256", "128 by default, as on CIFAR-10"),
        _setting(
            "Weight decay 1e-5",
            "weight_decay=1e-5",
            "1e-4 in the recipe `resnet`",
            "1e-5",
            "the paper (sec. 3.4) has 1e-4",
        ),
        Item("No dropout", f"{TRAIN} --recipe resnet", "none", "none"),
        net("ResNet-1202 on CIFAR-10", "resnet1202"),
        net("Identity mappings: pre-activation ResNet-110", "preresnet110"),
        net("Pre-activation ResNet-164", "preresnet164"),
        net("Pre-activation ResNet-1001", "preresnet1001"),
        Item(
            "Residual networks as ensembles of 2ⁿ paths; deleting a layer",
            "",
            "",
            "two figures",
            "refused: an analysis of trained networks; stochastic depth trains such paths",
        ),
        net("Wide ResNet of 50 layers", "wide_resnet50_2", accuracy="above ResNet-152"),
        net("ResNeXt: cardinality", "resnext50_32x4d"),
        _setting("Stochastic depth", "drop_path=0.2", "per image, rising from the first block to the last"),
        net("DenseNet", "densenet121"),
        Item("DenseNet as a space", "nas space densenet", "growth, layers and compression are decisions"),
        net("Squeeze-and-excitation, ILSVRC 2017: ResNeXt-152 as the base", "legacy_senet154", accuracy="winner"),
        Item(
            "Accuracy against operations and parameters (Canziani 2017)",
            "nas classics --sort top1 --plot classics.html",
            "accuracy against MACs",
            "a figure",
        ),
        count(
            "Depthwise separable: 9 C² HW becomes 9 C HW + C² HW, with C = 64 on 56x56",
            "Chain(Conv(64, 3, groups=64), Conv(64))",
            Chain(Conv(64, 3, groups=64), Conv(64)).cost((64, 56, 56)).macs,
            f"{(9 * 64 + 64**2) * 56**2:,}",
            "MACs",
        ),
        net("MobileNet", "mobilenetv1_100"),
        net("MobileNetV2", "mobilenetv2_100"),
        net("ShuffleNet", "shufflenet_g3_w1"),
        Item("ShuffleNet as a space", "nas space shufflenet", "groups, widths and depths are decisions"),
        net("Inception-v4", "inception_v4", printed="two of its layers are drawn"),
        Item(
            "NAS with a controller (Zoph & Le 2016)",
            "nas search --space mbconv --budget 400M --data digits --strategy rl",
            "an LSTM controller, trained by policy gradient on the accuracies",
            "sample, train, update",
        ),
        net("NASNet (Zoph 2017): cells found on CIFAR-10, stacked for ImageNet", "nasnetamobile"),
        Item("The cells as a space", "nas space nasnet", "wiring and operations of both cells are decisions"),
        net("AmoebaNet", "amoebanet_a_mobile"),
        Item(
            "ENAS: shared weights",
            "nas search --budget 400M --data digits --estimator supernet",
            "all networks share one set of weights, trained once; `--inherit` starts each with its parent's",
            "cited",
            "the networks to train are drawn uniformly; ENAS draws them from its controller",
        ),
        net("EfficientNet", "efficientnet_b0"),
        Item(
            "Search under a target memory and target FLOPs",
            "nas search --budget macs=400M,params=5.3M --data digits",
            "any costs may be bounded, `peak_activation_bytes` too; a family by `nas scale --growth params=1.8`",
            "target memory & flops",
        ),
        Item(
            "Scale up by heuristic rules",
            "nas scale efficientnet_b0 --coefficients published",
            "B0 to B7 to the last MAC; `resnet-rs` is another rule",
        ),
        Item(
            "Homework: a pretrained ResNet against one from scratch on CIFAR-10",
            "nas train resnet20 --data DATA --weights TRAINED",
            "with 20 images of a class +4.3 ± 4.8 points from a source of 5 other classes ([transfer](transfer.md))",
            "asked",
            "from networks trained here: no weights are downloaded",
        ),
        Item("Homework: crowd counting", "", "", "asked", OTHER_TASKS),
    ),
)


# The third: residual blocks, 1x1 and separable convolutions, transfer


def _separable_example() -> tuple[Item, ...]:
    given = (3, 6, 6)
    full, depthwise, pointwise = Conv(5, 3, padding=0), Conv(3, 3, groups=3, padding=0), Conv(5)
    both = Chain(depthwise, pointwise)
    ratio = both.cost(given).macs / full.cost(given).macs
    return (
        count(
            "Standard convolution of 6x6x3 to 4x4x5",
            "Conv(5, 3, padding=0)",
            full.cost(given).macs,
            "2160",
            "multiplications",
        ),
        count(
            "Its depthwise step",
            "Conv(3, 3, groups=3, padding=0)",
            depthwise.cost(given).macs,
            "432",
            "multiplications",
        ),
        count("Its pointwise step", "Conv(5)", pointwise.cost((3, 4, 4)).macs, "240", "multiplications"),
        count(
            "Both", "Chain(Conv(3, 3, groups=3, padding=0), Conv(5))", both.cost(given).macs, "672", "multiplications"
        ),
        count("672 of 2160: 1/n' + 1/f²", "nas cost mobilenetv1_100 --by type", ratio, "0.31", "of the cost"),
        count(
            "With 512 channels about 10 times cheaper",
            "Chain(Conv(512, 3, groups=512), Conv(512))",
            1 / (1 / 512 + 1 / 9),
            "10",
            "times",
            "1/512 + 1/9 is 0.113, so 8.8 times",
        ),
    )


_BY_TYPE: Final = "nas cost mobilenetv1_100 --by type"


def _mobilenet(kind: str) -> dict[str, Any]:
    """What one type of layer costs in MobileNet."""
    network = classic("mobilenetv1_100")
    return next(one for one in layer_types(network.network(), network.task.shape) if one["type"] == kind)


def _inverted_example() -> Item:
    block = mbconv(3, 3, 1, expansion=6)
    widths = [leaf.width for leaf, _ in leaves(block, (3, 8, 8)) if isinstance(leaf, Conv)]
    return Item(
        "MobileNetV2's block on n x n x 3",
        "mbconv(3, 3, 1, expansion=6)",
        "{}, {}, {} channels".format(*widths),
        "18, 18, 3 channels after expansion, depthwise step and projection",
    )


def _blocks(name: str) -> int:
    return sum(one["blocks"] for one in cost_document(name)["stages"] if one["name"].startswith("stage"))


_REGIMES: Final = "[transfer](transfer.md) has the rule and what was measured"
THIRD: Final = Lecture(
    "Convolutional Neural Network, advanced (Galassi, Irisa)",
    (
        Item(
            "ILSVRC: classification of 1,000 categories",
            "nas classics --sort top1",
            f"{len(CLASSICS)} networks, {len([*filter(published_accuracies, CLASSICS)])} with published accuracies",
            "a challenge",
            NO_IMAGENET,
        ),
        Item("ILSVRC: detection in images and video", "", "", "two challenges", OTHER_TASKS),
        Item("Plain block", "nas show plain20", "z = Wa + b, a = g(z), twice", "equations"),
        Item("Residual block", "nas show resnet20", "the shortcut is added before the last ReLU", "a = g(z + a)"),
        Item(
            "With weights of 0 a block is the identity",
            "nas train resnet32 --data DATA --weights TRAINED",
            "used to grow a trained network: new residual blocks begin as the identity",
            "a = g(a) = a",
        ),
        _DEGRADATION,
        net("34-layer plain network", "plain34"),
        net("34-layer residual network", "resnet34"),
        net("1x1 convolution (Network in Network)", "nin"),
        Item(
            "1x1 convolution to fewer or more channels",
            "Conv(32)",
            "a layer; every bottleneck and expansion",
            "32 filters on 28x28x192",
        ),
        *_separable_example(),
        count(
            "MobileNet v1: depthwise separable layers", _BY_TYPE, _mobilenet("conv dw 3x3")["layers"], "13", "layers"
        ),
        count("MobileNet v2: blocks", "nas cost mobilenetv2_100", _blocks("mobilenetv2_100"), "17", "blocks"),
        _inverted_example(),
        Item(
            "Download open-source weights trained on a large set",
            "nas train resnet20 --data DATA --weights TRAINED",
            "weights of a training of `nas train`, or a safetensors file with its network.json",
            "of ImageNet",
            "nothing is downloaded: other collections name their layers differently",
        ),
        Item(
            "Small training set: the last layer alone",
            "nas train resnet20 --data DATA --weights TRAINED --freeze all-but-head",
            "all other weights stay unchanged to the last bit",
            "replace and train the softmax layer",
            _REGIMES,
        ),
        Item(
            "Larger training set: the later layers",
            "nas train resnet20 --data DATA --weights TRAINED --freeze stage2",
            "a stage and those before it are frozen",
            "train the later layers",
            _REGIMES,
        ),
        Item(
            "Large training set: all layers",
            "nas train resnet20 --data DATA --weights TRAINED",
            "the weights are the initialization",
            "train all of the network",
            _REGIMES,
        ),
        Item(
            "Which of the three",
            "nas train resnet20 --data DATA --weights TRAINED --freeze auto",
            "by the number of images per class: below 10, below 50, more",
            "small, larger, large",
            "the lecture has no numbers",
        ),
    ),
)


# The fourth: branches, Res2Net, FractalNet, DenseNet, MobileNet

_WIDE: Final = (
    # depth, k, parameters, test errors on CIFAR-10 and CIFAR-100 in percent
    (40, 1, "0.6M", "6.85, 30.89"), (40, 2, "2.2M", "5.33, 26.04"), (40, 4, "8.9M", "4.97, 22.89"),
    (40, 8, "35.7M", "4.66"), (28, 10, "36.5M", "4.17, 20.50"), (28, 12, "52.5M", "4.33, 20.43"),
    (22, 8, "17.2M", "4.38, 21.22"), (22, 10, "26.8M", "4.44, 20.75"), (16, 8, "11.0M", "4.81, 22.07"),
    (16, 10, "17.1M", "4.56, 21.59"),
)  # fmt: skip
_IMAGENET: Final = (
    ("ResNet-50", "resnet50", "25.6M", "24.01, 7.02", ""),
    ("ResNet-101", "resnet101", "44.5M", "22.44, 6.21", ""),
    ("ResNet-152", "resnet152", "60.2M", "22.16, 6.16", ""),
    ("WRN-50-2-bottleneck", "wide_resnet50_2", "68.9M", "21.9, 6.03", ""),
    ("pre-ResNet-200", "preresnet200", "64.7M", "21.66, 5.79", ""),
)
_BODY: Final = "the table's rows are the stages: 13 depthwise and 13 pointwise convolutions"


def _resources() -> tuple[Item, ...]:
    """The rows of MobileNet's table of resources per layer type."""
    rows = (
        ("conv 1x1", "94.86", "74.59", ""),
        ("conv dw 3x3", "3.06", "1.06", ""),
        ("conv 3x3", "1.19", "0.02", "1.19 is a misprint of 1.91, with which the column adds up to 99.29 %, not 100 %"),
        ("linear", "0.18", "24.33", ""),
    )
    return tuple(
        Item(
            f"Resources per layer type: {kind}", _BY_TYPE, why=why,
            figures=(
                Figure("% of MACs", 100 * _mobilenet(kind)["share_of_macs"], macs),
                Figure("% of weights", 100 * _mobilenet(kind)["share_of_weights"], params),
            ),
        )
        for kind, macs, params, why in rows
    )  # fmt: skip


FOURTH: Final = Lecture(
    "COMP/EECE 7/8740 Neural Networks: CNN architectures (Alom, University of Memphis)",
    (
        net("ResNeXt: a block with cardinality 32", "resnext50_32x4d", printed="about the complexity of ResNet-50"),
        net(
            "Multi-residual network",
            "multi_resnet_200_5",
            params="10.2M",
            why="the lecture draws the block; the figure is the authors'",
        ),
        net("Multi-residual network, wide", "multi_resnet_26_2_10"),
        net("Residual networks of residual networks (RoR)", "ror3_164"),
        *(
            net(
                f"Wide ResNet {depth}-{k}",
                f"wrn_{depth}_{k}",
                params=params,
                printed=f"error {error} %",
                why=f"errors: {NO_CIFAR}",
            )
            for depth, k, params, error in _WIDE
        ),
        *(
            net(f"{what} on ImageNet", name, params=params, accuracy=f"errors {errors} %", why=why)
            for what, name, params, errors, why in _IMAGENET
        ),
        Item(
            "Time of a batch of 16: ResNet-50 49, WRN-50-2 93",
            "nas measure resnet50 wide_resnet50_2 --batch 16",
            "taking turns, until the medians are known",
            "49 to 154 ms",
            "on the lecture's GPU; measure your own",
        ),
        net("Res2Net-50", "res2net50_26w_4s"),
        net("Res2Net with cardinality: Res2NeXt-50", "res2next50"),
        net("Res2Net with squeeze-and-excitation: SE-Res2Net-50", "seres2net50_26w_4s"),
        Item(
            "Res2Net in DLA",
            "",
            "",
            "one of three backbones",
            "refused: DLA is not a network of the lectures; ResNet and ResNeXt, the other two, are here",
        ),
        Item(
            "ZCA whitening in that table",
            "",
            "",
            "a caption",
            "refused: pixels are normalized by mean and standard deviation, as for other networks of these lectures",
        ),
        Item(
            "Class activation maps of ResNet-50 and Res2Net-50",
            "nas predict TRAINED IMAGE --explain maps.html",
            "of networks trained here",
            "pictures",
        ),
        net("PolyNet", "polynet"),
        Item(
            "PolyNet's poly-2, mpoly-2 and poly-3 units",
            "nas show polynet",
            "`searchspaces.classics.polynet.poly` makes each",
            "four structures",
        ),
        net("Inception-ResNet-v2", "inception_resnet_v2"),
        net("Inception-ResNet-v1", "inception_resnet_v1"),
        net("FractalNet", "fractalnet"),
        net("FractalNet of 20 layers", "fractalnet_20"),
        Item(
            "Fractal of FractalNets",
            "",
            "",
            "a drawing",
            "refused: a sketch of Smith & Topin 2016 (arXiv:1611.00847) without numbers; its joins are layers here",
        ),
        net("DenseNet: dense and transition blocks", "densenet121"),
        net("DenseNet-BC on CIFAR-10", "densenet_bc_100_12"),
        Item(
            "MobileNets: width and resolution",
            "nas cost mobilenetv1_050 --image-size 160",
            "both, in any combination",
            "two hyperparameters",
        ),
        Item(
            "Depthwise separable convolution, each with norm and ReLU",
            "nas show mobilenetv1_100",
            "dw 3x3, 1x1, each with batch norm and ReLU",
            "a figure",
        ),
        net("MobileNet's body, table 1", "mobilenetv1_100", why=_BODY),
        *_resources(),
        Item(
            "Spatial transformer: a learned affine transform of the input",
            "SpatialTransformer(32)",
            "a layer, its localization network is fully connected or convolutional; initially the identity",
            "a module with a localization network",
        ),
        Item(
            "MNIST addition with spatial transformers",
            "python examples/spatial_transformer.py --seeds 1",
            "top-1 accuracy 89.3 % with it and 31.9 % without, at equal MACs (one seed)",
            "an example",
            "one digit anywhere on a canvas instead of the sum of two",
        ),
        Item(
            "Shorter paths, skip connections, several paths",
            "nas space mixed",
            "cells with each are options of one space",
            "design principles",
        ),
        Item(
            "Reduce filter sizes, factorize filters",
            "nas show inception_v3",
            "1x7 and 7x1 in place of 7x7",
            "design principles",
        ),
        Item(
            "1x1 convolutions to reduce and expand",
            "nas space resnet",
            "the bottleneck's share is a decision",
            "design principles",
        ),
        Item(
            "Data augmentation", TRAIN, "crops, resized crops, mirroring, RandAugment, cutout, mixup, CutMix", "named"
        ),
        _setting("Initialization", "initialization=xavier", "`xavier` or `he`; He by fan-out otherwise", "named"),
        _layer("Batch normalization", "Norm()", "and layer, group and local response normalization", "named"),
        _setting("Dropout", "dropout=0.5", "of the network's own layers, or before its classifier", "named"),
        _setting(
            "DropConnect",
            "drop_connect=0.5",
            "weights of the classifier; also a layer, `Linear(10, drop_connect=0.5)`",
            "named",
        ),
        Item("Advanced activation functions", 'Act("mish")', "eleven, PReLU and Maxout", "named"),
        *(
            _setting(name, f"optimizer={name.lower()} lr={rate}", "from torch, resumed to the last bit", "named")
            for name, rate in (("SGD", 0.1), ("AdaDelta", 1.0), ("AdaGrad", 0.01))
        ),
        Item(
            "Alternatives of fully connected layers",
            "nas cost nin",
            "global average pooling; All-CNN and SqueezeNet have no other classifier",
            "named",
        ),
        Item(
            "Network compression",
            "nas export TRAINED --to onnx --int8 --data DATA",
            "8-bit quantization, calibrated; distillation by `nas train --teacher`",
            "named",
            "no pruning of weights: a smaller network is searched for instead",
        ),
        net("Highway networks (Srivastava 2015)", "highway_20"),
        net("All convolutional net (Springenberg 2014)", "all_cnn", params="1.4M", why="the paper's figure"),
        net("Network in Network (Lin 2013)", "nin"),
        net("ResNets with ELU (Shah 2016)", "elu_resnet110"),
        Item(
            "Residual networks behave like ensembles; unrolled estimation; visualizing ResNets",
            "",
            "",
            "cited",
            "refused: analyses of trained networks; the loss surface and class activation maps are here",
        ),
        Item(
            "Design patterns (Smith & Topin 2016)",
            "",
            "",
            "cited",
            f"{PRINCIPLE}: the spaces are made of such patterns",
        ),
    ),
)


# The fifth: building CNNs, search, scaling, generalization

_PROGRESS: Final = (
    ("AlexNet (2012), 8 layers", "alexnet_2012", "16.4 %"), ("ZFNet (2013), 8 layers", "zfnet_ilsvrc", "11.7 %"),
    ("VGG-19 (2014), 19 layers", "vgg19", "7.3 %"), ("GoogLeNet (2014), 22 layers", "googlenet", "6.7 %"),
    ("ResNet-152 (2015), 152 layers", "resnet152", "3.6 %"),
    ("ResNeXt-152-SE (2017), 152 layers", "legacy_senet154", "2.3 %"),
)  # fmt: skip
_V1: Final = (
    ("1.0 MobileNet-224", "mobilenetv1_100", None, "569M", "4.2M", "70.6 %", ""),
    ("0.75 MobileNet-224", "mobilenetv1_075", None, "325M", "2.6M", "68.4 %", ""),
    ("0.5 MobileNet-224", "mobilenetv1_050", None, "149M", "1.3M", "63.7 %", ""),
    ("0.25 MobileNet-224", "mobilenetv1_025", None, "41M", "0.5M", "50.6 %", ""),
    ("1.0 MobileNet-192", "mobilenetv1_100", 192, "418M", "4.2M", "69.1 %", ""),
    (
        "1.0 MobileNet-160",
        "mobilenetv1_100",
        160,
        "290M",
        "4.2M",
        "67.2 %",
        "290.7M are counted; the authors' release says 291M",
    ),
    ("1.0 MobileNet-128", "mobilenetv1_100", 128, "186M", "4.2M", "64.4 %", ""),
)
_V2: Final = (
    (
        "MobileNetV1",
        "mobilenetv1_100",
        "4.2M",
        "575M",
        "70.6",
        "its own paper has 569M, as counted; the table that this is from has 575M",
    ),
    ("ShuffleNet (1.5)", "shufflenet_g3_w3d2", "3.4M", "292M", "71.5", ""),
    ("ShuffleNet (x2)", "shufflenet_g3_w2", "5.4M", "524M", "73.7", "5.40M without the parameters of norms"),
    ("NASNet-A", "nasnetamobile", "5.3M", "564M", "74.0", ""),
    (
        "MobileNetV2",
        "mobilenetv2_100",
        "3.4M",
        "300M",
        "72.0",
        "3.50M and 300.8M are counted; 3.47M without the parameters of norms",
    ),
    (
        "MobileNetV2 (1.4)",
        "mobilenetv2_140",
        "6.9M",
        "585M",
        "74.7",
        "the authors' own release has 582M, as counted, and 6.06M without norms",
    ),
)


def _macs(name: str) -> int:
    return classic(name).cost().macs


_SCALED: Final = "factors, sizes and dropout as the authors' code states them"

FIFTH: Final = Lecture(
    "Machine Learning for Robotics and Computer Vision: Building CNNs (Behley, Bonn)",
    (
        _layer("Layer normalization (last lecture)", 'Norm("layer")', "over channels at each pixel"),
        net(
            "AlexNet, mostly fully connected layers",
            "alexnet_2012",
            params="60M",
            why="60.97M are counted; the paper rounds down",
        ),
        *(net(what, name, accuracy=f"top-5 error {error}", why=ENSEMBLE) for what, name, error in _PROGRESS),
        net("VGG-16", "vgg16", params="138M"),
        net("VGG-19", "vgg19", params="144M"),
        Item(
            "VGG: only 3x3 convolutions and 2x2 pooling, filters doubled where maps are halved",
            "nas show vgg16",
            "so",
            "design principles",
        ),
        Item(
            "VGG: smaller versions are trained first and their weights copied",
            "nas train vgg16 --data DATA --weights TRAINED",
            "layer by layer, as far as it goes; new layers begin as the identity where they can",
            "pre-training",
        ),
        Item(
            "GoogLeNet's four innovations",
            "nas show googlenet",
            "Inception layers, global pooling, 1x1 bottlenecks, auxiliary heads",
            "four",
        ),
        Item(
            "Intermediate losses",
            "nas train googlenet --data DATA --set auxiliary=0.3",
            "off by default, since these networks have batch norm",
            "not needed with batch norm",
        ),
        _DEGRADATION,
        Item(
            "More parameters, better performance?",
            "nas classics --sort top1 --plot classics.html",
            "accuracies against costs of all published networks",
            "a trend",
        ),
        Item("Basic block and bottleneck block", "nas space resnet", "an option of each stage", "two figures"),
        *(net(f"ResNet-{layers}", f"resnet{layers}") for layers in (18, 34, 50, 101, 152)),
        Item(
            "Depth-wise separable 3x3 convolutions take 8 to 9 times less",
            _BY_TYPE,
            f"{_macs('conv_mobilenet') / _macs('mobilenetv1_100'):.1f} times over all of MobileNet",
            "8-9 times",
        ),
        net(
            "MobileNet without depthwise convolutions",
            "conv_mobilenet",
            macs="4866M",
            params="29.3M",
            accuracy="71.7 %",
            why="4,866.3M without the classifier, which the 569M of MobileNet have",
        ),
        *(
            net(what, name, size=size, macs=macs, params=params, accuracy=top1, why=why)
            for what, name, size, macs, params, top1, why in _V1
        ),
        net(
            "GoogLeNet in MobileNet's table 8",
            "googlenet",
            macs="1550M",
            params="6.8M",
            accuracy="69.8 %",
            why="GoogLeNet's own table adds up to 1,502M and, with 1,024 to the K, 6,798K",
        ),
        net(
            "VGG-16 in MobileNet's table 8",
            "vgg16",
            macs="15300M",
            params="138M",
            accuracy="71.5 %",
            why="15,470M are counted",
        ),
        Item(
            "Inverted bottleneck, MBConv",
            "nas space mbconv",
            "expansion, kernel and squeeze-and-excitation are decisions",
            "two figures",
        ),
        *(
            net(f"MobileNetV2's comparison: {what}", name, params=params, macs=macs, accuracy=f"top-1 {top1}", why=why)
            for what, name, params, macs, top1, why in _V2
        ),
        Item(
            "CPU times of that table: 75 to 183 ms",
            "nas measure mobilenetv2_100 mobilenetv1_100 nasnetamobile",
            "medians on this machine",
            "of a phone",
            "another processor; a latency table turns them into a budget",
        ),
        Item(
            "Neural architecture search: search space",
            "nas spaces",
            "linear and parallel pathways, operations, blocks",
            "structure, operations, blocks",
        ),
        Item(
            "Search strategy: reinforcement learning",
            "nas search --budget 400M --data digits --strategy rl",
            "Zoph & Le's controller",
            "selects by reward",
        ),
        Item(
            "Search strategy: genetic algorithms",
            "nas search --budget 400M --data digits --strategy evolution",
            "regularized evolution (Real 2019)",
            "mutates by performance",
        ),
        Item(
            "Performance estimation: few epochs",
            "nas search --budget 400M --data digits --set estimator.epochs=6",
            "6 epochs of few images by default",
            "short training",
        ),
        Item(
            "Performance estimation: extrapolate",
            "nas search --budget 400M --data digits --pruner curves",
            "learning curves are extrapolated, and trials stopped",
            "from few examples",
        ),
        Item(
            "Performance estimation: weights of previous structures",
            "nas search --budget 400M --data digits --inherit",
            "children start from their parents' weights",
            "initialize weights",
        ),
        net(
            "AmoebaNet-A: normal and reduction cell",
            "amoebanet_a_mobile",
            here="found by evolution; `nas show --svg` draws the cells",
        ),
        Item(
            "An objective with parameters, FLOPs, targeted phones",
            "nas search --budget macs=400M,params=5M --data digits",
            "any costs and latency bounded, or objectives of a front",
            "often used",
        ),
        Item(
            "Scaling channels, layers or resolution alone",
            "nas scale efficientnet_b0 --coefficients published",
            "each alone, scaled to the same MACs as the family",
            "diminishing returns",
        ),
        Item(
            "Compound scaling",
            "nas scale runs/first --data digits",
            "a search for the factors, on true MACs",
            "higher performance",
            "on Fashion-MNIST it did not win ([scaling](scaling.md))",
        ),
        Item(
            "Accuracy and FLOPs as the objective of EfficientNet-B0's search",
            "nas search --budget 400M --data digits --strategy pareto --objectives accuracy,macs",
            "a front of both",
            "NAS with both",
        ),
        net("EfficientNet-B0", "efficientnet_b0", params="5.3M", accuracy="77.1"),
        net("ResNet-50 for comparison", "resnet50", params="26M", accuracy="76.0"),
        net(
            "MobileNetV2 for comparison",
            "mobilenetv2_100",
            params="3.4M",
            accuracy="72.0",
            why="3.50M are counted; 3.47M without the parameters of norms",
        ),
        *(net(f"EfficientNet-B{n}", f"efficientnet_b{n}", why=_SCALED) for n in range(1, 8)),
        *(net(f"NFNet-F{n}", f"dm_nfnet_f{n}") for n in range(7)),
        _setting(
            "NFNet: adaptive gradient clipping",
            "adaptive_clip=0.01",
            "per unit, except in the classifier",
            "weight adaptive gradient updates",
            network="dm_nfnet_f0",
        ),
        *(net(f"ResNet-RS-{depth}", f"resnetrs{depth}") for depth in (50, 101, 152, 200, 270, 350, 420)),
        Item(
            "ResNet-RS: scaling strategies",
            "nas scale resnetrs50 --coefficients resnet-rs",
            "depth for long trainings, `resnet-rs-short` width; the image slowly",
            "improved scaling",
            "the paper gives no rate for the image size; that of its own family is used ([scaling](scaling.md))",
        ),
        Item(
            "ResNet-RS: training",
            f"{TRAIN} --recipe sgd",
            "cosine, label smoothing, stochastic depth, RandAugment, dropout, averaged weights",
            "improved training",
        ),
        *(
            net(f"EfficientNetV2-{n.upper()}", f"efficientnetv2_{n}")
            for n in ("b0", "b1", "b2", "b3", "s", "m", "l", "xl")
        ),
        Item(
            "Fused MBConv in earlier layers",
            "nas space efficientnetv2",
            "the cell of each stage is a decision",
            "normal 3x3 in the inverted bottleneck",
        ),
        _setting(
            "EfficientNetV2: progressive learning",
            "progressive=4",
            "image size and augmentation grow in stages",
            "improved training efficiency",
        ),
        _setting(
            "Early stopping", "stop_after=10", "after that many epochs without a better validation accuracy", "named"
        ),
        _setting(
            "L2 regularization, weight decay",
            "weight_decay=5e-4",
            "on weights of convolutions and linear layers only",
            "not on biases and norms",
        ),
        _setting(
            "Weight decay is not L2 with Adam: AdamW",
            "optimizer=adamw lr=0.001",
            "decoupled, and the recipe `adamw`",
            "beware",
        ),
        _setting(
            "Dropout before fully connected layers",
            "dropout=0.5",
            "scaled in training, so that evaluation needs none",
            "scaled by p at test time",
            "the same mean; inverted, as in torch",
        ),
        _setting("Stochastic depth", "drop_path=0.2", "with rates that rise with depth", "scaled by probability"),
        _setting("Horizontal mirroring", "mirror=true", "on automatically where the class names allow it", "named"),
        _setting("Crop and resize", "resized_crop=0.08", "at least 8 % of the area", "named"),
        _setting(
            "Colour distortion (saturation)",
            "randaugment_operations=2",
            "colour, contrast, brightness among RandAugment's operations",
            "named",
        ),
        _setting(
            "Shearing, cropping", "randaugment_operations=2", "both axes; crops by an eighth of the side", "named"
        ),
        _setting(
            "RandAugment with N and M",
            "randaugment_operations=2 randaugment_magnitude=9",
            "2 and 9 by default",
            "N operations, magnitude M",
        ),
        Item(
            "RandAugment: N and M by grid search on the validation set",
            "nas tune-recipe resnet20 --data DATA --strategy grid "
            "--settings randaugment_operations,randaugment_magnitude",
            "a study of all 21 pairs; test images are not used",
            "grid search",
        ),
        *(
            net(f"RandAugment on {what}", name, size=size, accuracy=f"{plain} to {better} / {top5} %", why=NO_IMAGENET)
            for what, name, size, plain, better, top5 in (
                ("ResNet-50", "resnet50", None, "76.3", "77.6", "93.8"),
                ("EfficientNet-B5", "efficientnet_b5", None, "83.2", "83.9", "96.8"),
                ("EfficientNet-B7", "efficientnet_b7", None, "84.0", "85.0", "97.2"),
            )
        ),
        Item(
            "AutoAugment",
            "nas train resnet50 --data DATA --set auto_augment=imagenet",
            "the published policies of CIFAR-10, ImageNet and SVHN",
            "77.6 % (ResNet-50), 83.3 % (B5), 84.4 % (B7)",
            f"no policy is learned here; {NO_IMAGENET}",
        ),
        Item(
            "Fast AutoAugment",
            "",
            "",
            "77.6 % (ResNet-50)",
            "refused: it searches policies, which the table shows to be worth as much as RandAugment's two numbers",
        ),
        Item("RandAugment in detection (COCO)", "", "", "38.8 to 40.1, 39.9 to 41.9", OTHER_TASKS),
        _setting(
            "mixup",
            "mixup=0.2 mix=1",
            "images and labels interpolated",
            "+1.1 points on ImageNet",
            f"{NO_IMAGENET}; `python -m benchmarks.techniques` compares them on small images",
        ),
        _setting("Cutout", "cutout=0.5", "a square of the mean colour", "+0.8 points on ImageNet", "as for mixup"),
        _setting(
            "CutMix",
            "cutmix=1 mix=0.5",
            "a box of another image, labels by area",
            "+2.3 points on ImageNet",
            "as for mixup",
        ),
        Item(
            "Localization and detection with mixup, cutout, CutMix", "", "", "-0.5 to +1.0, -1.7 to +1.1", OTHER_TASKS
        ),
        Item(
            "EfficientNet: AutoAugment, stochastic depth, dropout",
            f"{TRAIN} --recipe efficientnet",
            "RandAugment, stochastic depth 0.2, dropout of the network's size",
            "the combination",
            "AutoAugment has a row of its own",
        ),
        _setting(
            "EfficientNetV2: RandAugment, then mixup",
            "randaugment_operations=2 mixup=0.2 cutmix=0 mix=1",
            "in that order",
            "the combination",
            network="efficientnetv2_s",
        ),
        _setting(
            "NFNets: mixup 0.2 and CutMix, RandAugment with N = 4",
            "mixup=0.2 cutmix=1 randaugment_operations=4",
            "each batch is mixed by one of the two",
            "the combination",
            network="dm_nfnet_f0",
        ),
        Item(
            "These are highly data-dependent",
            "python -m benchmarks.techniques --sets digits",
            "each technique alone, over seeds, with standard errors",
            "no free lunch",
        ),
    ),
)

LECTURES: Final = (FIRST, SECOND, THIRD, FOURTH, FIFTH)
