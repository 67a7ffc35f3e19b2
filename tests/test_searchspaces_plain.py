"""What is special about plain networks; their costs are in the golden table."""

from __future__ import annotations

from searchspaces import Task, classic
from searchspaces.layers import Linear


def test_lenet_has_the_parameters_of_its_paper_layer_by_layer():
    # LeCun 1998, sec. II.B: C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164: 60,000 that are learnt
    stages = dict(zip(("c1-s2", "c3-s4", "c5", "head"), classic("lenet5").network().nodes, strict=True))
    shape, params = (1, 32, 32), {}
    for name, stage in stages.items():
        params[name] = stage.cost(shape).params
        shape = stage.shape(shape)
    last = Linear(10).cost((84,)).params  # in place of bitmaps that are not learnt
    assert params == {"c1-s2": 156 + 12, "c3-s4": 1516 + 32, "c5": 48120, "head": 10164 + last}
    assert sum(params.values()) - last == 60_000


def test_vgg_takes_images_of_any_size():
    vgg = classic("vgg11")
    assert [vgg.network(Task(size)).shape((3, size, size)) for size in (32, 224, 288)] == [(1000,)] * 3
    # its first hidden layer covers what is left of the image: 1 x 1 of 32 x 32, 7 x 7 of 224 x 224
    hidden = [vgg.network(Task(size)).nodes[-1].cost((512, size // 32, size // 32)).params for size in (32, 224)]
    assert hidden[1] - hidden[0] == 512 * 4096 * (49 - 1)
