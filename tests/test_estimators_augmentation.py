"""Laws of what alters images: as Pillow does it, drawn from the generator alone, and labels keep their mass."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from estimators import ShortTraining, load_data
from estimators.augmentation import KINDS, OPERATIONS, STRONGEST, Augmentation, augmented, draw, operated
from estimators.autoaugment import LEVELS, POLICIES
from estimators.recipe import Recipe


def photos(channels=3, side=24, count=6, seed=0):
    """Smooth random images, uint8 (count, channels, side, side): noise would hide what a warp does."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 230, (count, 5, 5, channels), dtype=np.uint8)
    planes = coarse.transpose(0, 3, 1, 2).reshape(-1, 5, 5)
    large = [np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC)) for each in planes]
    return torch.from_numpy(np.stack(large).reshape(count, channels, side, side))


def after(operation, images, magnitude=9.0, sign=1.0, fill=0.0):
    kinds = torch.full((len(images),), KINDS.index(operation))
    signs = torch.full((len(images),), sign)
    return operated(images.float(), kinds, signs, magnitude, torch.full((images.shape[1],), fill))


def by_pillow(function, images):
    def one(image):
        mode = Image.fromarray(image.permute(1, 2, 0).numpy() if len(image) == 3 else image[0].numpy())
        out = np.array(function(mode))
        return torch.from_numpy(out.transpose(2, 0, 1) if out.ndim == 3 else out[None])

    return torch.stack([one(image) for image in images]).float()


def affine(image, matrix):
    """Pillow's own warp, with the same matrix in pixels instead of half sides."""
    half = image.width / 2
    (a, b, c), (d, e, f) = matrix
    shift_x, shift_y = half - a * half - b * half + c * half, half - d * half - e * half + f * half
    return image.transform(
        image.size, Image.Transform.AFFINE, (a, b, shift_x, d, e, shift_y), Image.Resampling.BILINEAR
    )


TURN = math.radians(27)  # 0.9 of 30 degrees
PILLOW = {
    "identity": lambda image: image,
    "auto_contrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "solarize": lambda image: ImageOps.solarize(image, 26),  # 255 * (1 - 0.9) = 25.5
    "posterize": lambda image: ImageOps.posterize(image, 4),  # 8 - round(0.9 * 4)
    "color": lambda image: ImageEnhance.Color(image).enhance(1.81),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.81),
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.81),
    "invert": ImageOps.invert,
    "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(1.81),
    "rotate": lambda image: affine(image, [[math.cos(TURN), -math.sin(TURN), 0], [math.sin(TURN), math.cos(TURN), 0]]),
    "shear_x": lambda image: affine(image, [[1, 0.27, 0], [0, 1, 0]]),
    "shear_y": lambda image: affine(image, [[1, 0, 0], [0.27, 1, 0]]),
    "translate_x": lambda image: affine(image, [[1, 0, 0.9 * 300 / 331], [0, 1, 0]]),
    "translate_y": lambda image: affine(image, [[1, 0, 0], [0, 1, 0.9 * 300 / 331]]),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", KINDS)
def test_an_operation_does_what_pillow_does(operation, channels):
    images = photos(channels)
    ours, theirs = after(operation, images), by_pillow(PILLOW[operation], images)
    off = (ours - theirs).abs()
    if operation in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"):
        inside = theirs > 0  # the two blend the border differently
        assert inside.float().mean() > 0.4
        assert off[inside].median() <= 1
        assert off[inside].mean() < 3
    else:
        assert off.max() <= 2  # Pillow drops what is behind the point, where we round; twice for luma and blend
        assert off.mean() < 1
    if operation not in ("identity", "color"):
        assert (ours - images).abs().mean() > 1  # and it does something


@pytest.mark.parametrize("operation", ["equalize", "auto_contrast"])
def test_an_image_of_one_value_stays(operation):
    flat = torch.full((2, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(after(operation, flat), flat.float())


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each not in ("auto_contrast", "equalize")])
def test_at_magnitude_zero_nothing_changes(operation):
    images = photos()
    if operation == "solarize":
        images = images.clamp(max=254)
    assert (after(operation, images, magnitude=0.0) - images).abs().max() <= 1e-3


def test_a_sign_turns_a_warp_round():
    images = photos()
    there, back = after("rotate", images, sign=1.0), after("rotate", images.flip(3), sign=-1.0)
    assert (there - back.flip(3)).abs().max() <= 1


def test_what_a_warp_leaves_empty_has_the_colour_given():
    moved = after("translate_x", photos(side=24), magnitude=STRONGEST, fill=99.0)
    assert torch.equal(moved[..., -9:], torch.full_like(moved[..., -9:], 99.0))  # 24 * 150 / 331 = 10.9 pixels


def altered(images, how, seed=0, labels=None, batch=None, normal=(0.0, 1.0)):
    """Images (N, channels, side, side) as one epoch alters them, in their own order, and their targets."""
    count, side = len(images), images.shape[2]
    draws = draw(how, np.arange(count), side, batch or count, batch or count, seed)
    labels = torch.arange(count) if labels is None else labels
    pixels, order = images.permute(0, 2, 3, 1)[draws.order], torch.from_numpy(draws.order)
    mean, std = (torch.full((images.shape[1],), each) for each in normal)
    found, targets = augmented(pixels, labels[order], draws, how, mean, std, int(labels.max()) + 1)
    back = order.argsort()
    return found.permute(0, 3, 1, 2)[back], targets[back]


def test_each_image_is_drawn_for_itself_from_the_seed_alone():
    images = photos(count=1).expand(400, 3, 24, 24)
    how = Augmentation(randaugment_operations=1, randaugment_magnitude=9)
    torch.manual_seed(0)
    first, _ = altered(images, how, seed=5)
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(altered(images, how, seed=5)[0], first)
    different = {each.numpy().tobytes() for each in first}
    assert 14 <= len(different) <= 23  # 14 operations, of which 9 go two ways
    untouched = (first == images.float()).all((1, 2, 3)).sum()
    assert abs(int(untouched) - 400 / 14) < 32  # sd sqrt(400 * 1/14 * 13/14) = 5.2; the band is 6 sd
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, first.round())


@pytest.mark.parametrize("policy", [None, "imagenet"])
def test_an_image_comes_out_the_same_whichever_rows_are_processed_with_it(policy):
    images, how = photos(count=32), Augmentation(0.125, True, 0.3, 3, 12.0, resized_crop=0.3, auto_augment=policy)
    draws = draw(how, np.arange(32), 24, 32, 32, 1)
    pixels, mean, std = images.permute(0, 2, 3, 1)[draws.order], torch.full((3,), 120.0), torch.full((3,), 50.0)

    def made(rows):
        return augmented(pixels[rows], torch.zeros(len(rows), dtype=torch.int64), draws.at(rows), how, mean, std, 1)[0]

    whole = made(np.arange(32))
    for row in range(32):
        assert torch.equal(made(np.array([row]))[0], whole[row])


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_25_pairs_of_operations_with_chances_and_levels(name):
    policy = POLICIES[name]
    assert len(policy) == 25
    for kind, chance, level in (each for pair in policy for each in pair):
        assert kind in KINDS
        assert kind != "identity"
        assert 0 <= chance <= 1
        assert round(10 * chance, 9) == round(10 * chance)  # multiples of a tenth, as the search had them (sec. 3.1)
        assert level in range(LEVELS + 1)


def test_the_policies_prefer_what_their_paper_says_of_them():
    """Cubuk et al. 2019, sec. 4.1 and 4.2: colour for CIFAR-10 and ImageNet, geometry and inverting for SVHN."""
    applied = {
        name: {kind: sum(chance for pair in policy for one, chance, _ in pair if one == kind) for kind in KINDS}
        for name, policy in POLICIES.items()
    }
    geometric = {
        name: sum(each[kind] for kind in KINDS if kind.startswith(("shear", "rotate", "translate")))
        for name, each in applied.items()
    }
    cifar10, whole = applied["cifar10"], sum(applied["cifar10"].values())
    assert sum(cifar10[kind] for kind in ("equalize", "auto_contrast", "color", "brightness")) > whole / 2
    assert cifar10["shear_x"] == 0
    assert cifar10["invert"] < whole / 100  # "almost never applied"
    assert max(applied["svhn"], key=applied["svhn"].__getitem__) == "invert"
    assert geometric["svhn"] > max(geometric["cifar10"], geometric["imagenet"])
    assert max(applied["imagenet"], key=applied["imagenet"].__getitem__) == "equalize"


@pytest.mark.parametrize("name", POLICIES)
def test_each_operation_of_a_policy_comes_as_often_as_it_says(name):
    rows = 25_000
    draws = draw(Augmentation(auto_augment=name, randaugment_operations=3), np.arange(rows), 8, 100, 100, 0)
    assert draws.kinds.shape == draws.levels.shape == draws.signs.shape == (rows, 2)
    for place in (0, 1):
        expected = dict.fromkeys(KINDS, 0.0)
        for pair in POLICIES[name]:
            kind, chance, _ = pair[place]
            expected[kind] += chance / 25
            expected["identity"] += (1 - chance) / 25
        for kind, share in expected.items():  # the band is 6 sd
            found = np.mean(draws.kinds[:, place] == KINDS.index(kind))
            assert abs(found - share) <= 6 * math.sqrt(share * (1 - share) / rows)


def test_a_level_is_a_ninth_of_the_strongest_magnitude(monkeypatch):
    images = photos()
    for kind, level in (("rotate", 4), ("posterize", 8), ("color", 9), ("solarize", 3), ("invert", 0)):
        monkeypatch.setitem(POLICIES, "svhn", (((kind, 1.0, level), ("rotate", 0.0, 9)),))
        found, _ = altered(images, Augmentation(auto_augment="svhn"))
        ways = [after(kind, images, STRONGEST * level / 9, sign) for sign in (1.0, -1.0)]
        assert all(any(torch.equal(one, way[index]) for way in ways) for index, one in enumerate(found))
    monkeypatch.setitem(POLICIES, "svhn", ((("posterize", 1.0, 8), ("invert", 1.0, 0)),))
    found, _ = altered(images, Augmentation(auto_augment="svhn"))
    assert torch.equal(found, 255 - by_pillow(lambda image: ImageOps.posterize(image, 4), images))  # 8 - round(32 / 9)


def test_augmentation_off_changes_nothing_and_mirroring_mirrors_about_half():
    images = photos(channels=2, count=400)
    assert torch.equal(altered(images, Augmentation())[0], images.float())
    mirrored, _ = altered(images, Augmentation(mirror=True))
    same = (mirrored == images).all((1, 2, 3))
    turned = (mirrored == images.flip(3)).all((1, 2, 3))
    assert bool((same ^ turned).all())
    assert abs(int(turned.sum()) - 200) < 60  # sd is 10; the band is 6 sd


def test_a_crop_moves_the_image_by_at_most_its_padding_and_fills_with_the_mean():
    images = torch.arange(1, 65, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(500, 1, 8, 8)
    cropped, _ = altered(images, Augmentation(crop=0.125), normal=(100.0, 2.0))
    padded = torch.nn.functional.pad((images[0, 0].float() - 100) / 2, (1, 1, 1, 1))
    possible = {tuple(padded[y : y + 8, x : x + 8].flatten().tolist()) for y in range(3) for x in range(3)}
    assert {tuple(each.flatten().tolist()) for each in cropped} == possible  # all nine of them, and nothing else


def test_a_resized_crop_is_a_part_of_the_image_at_its_whole_size():
    # each pixel holds its column (channel 0) and its row (channel 1), so that a crop says where it was taken
    side = 32
    columns = torch.arange(side).repeat(side, 1) * 7
    images = torch.stack([columns, columns.T]).to(torch.uint8).expand(2000, 2, side, side)
    cropped = altered(images, Augmentation(resized_crop=0.08))[0] / 7
    width, height = cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0], cropped[:, 1, -1, 0] - cropped[:, 1, 0, 0]
    area = (width / (side - 1)) * (height / (side - 1))
    assert 0.04 < area.min() < 0.12  # the smallest, and what the borders of pixels make of it
    assert area.max() > 0.9
    # the mean of an area uniform in 0.08 to 1 is 0.54; crops longer than the image are cut
    assert area.mean() == pytest.approx(0.52, abs=0.03)
    ratio = (width / height)[(width < side - 3) & (height < side - 3)]
    assert 0.7 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.45


def test_cutout_cuts_one_square_that_may_reach_over_the_border():
    images = torch.ones(500, 3, 8, 8, dtype=torch.uint8)
    cut = 1 - altered(images, Augmentation(cutout=0.5))[0]
    assert torch.equal(cut[:, 0], cut[:, 2])
    area = cut[:, 0].sum((1, 2))
    assert area.max() == 16  # 4 x 4
    assert 4 <= area.min() < 16
    sides = cut[:, 0].amax(2).sum(1) * cut[:, 0].amax(1).sum(1)
    assert torch.equal(sides, area)  # a full rectangle each


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_a_mixed_batch_keeps_its_mass_and_its_labels_say_what_is_in_it(mixup, cutmix):
    # an image of class c has all pixels c, so that its mean tells what was mixed into it
    labels = torch.arange(8)
    images = labels.to(torch.uint8)[:, None, None, None].expand(8, 3, 16, 16)
    for seed in range(50):
        inputs, targets = altered(images, Augmentation(mixup=mixup, cutmix=cutmix, mix=1.0), seed, labels)
        assert torch.allclose(targets.sum(1), torch.ones(8))
        assert torch.allclose(inputs.mean((1, 2, 3)), (targets * labels).sum(1), atol=1e-5)
        assert torch.allclose(inputs[:, 0], inputs[:, 2])


def test_batches_are_mixed_as_often_as_asked():
    labels = torch.arange(4).repeat(400)
    images = labels.to(torch.uint8)[:, None, None, None].expand(1600, 1, 8, 8)
    how = Augmentation(mixup=0.2, cutmix=1.0, mix=0.5)
    draws = draw(how, np.arange(1600), 8, 4, 4, 2)
    boxes = (draws.boxes[:, 1] - draws.boxes[:, 0]) * (draws.boxes[:, 3] - draws.boxes[:, 2])
    mixed = ((draws.keep < 1) | (boxes > 0)).reshape(400, 4)
    assert (mixed.all(1) == mixed.any(1)).all()  # whole batches
    assert abs(mixed.any(1).sum() - 200) < 60  # sd is 10; the band is 6 sd
    kept, targets = altered(images, Augmentation(mixup=0.2, mix=0.0), labels=labels)
    assert torch.equal(targets, labels)
    assert torch.equal(kept, images.float())


def test_the_augmentation_of_a_training_has_its_settings_and_nothing_it_has_no_setting_for():
    recipe = Recipe(crop=0.1, cutout=0.2, randaugment_operations=3, randaugment_magnitude=4, mixup=0.5, cutmix=0.6,
                    mix=0.7, resized_crop=0.8)  # fmt: skip
    assert Augmentation.of(recipe, mirror=True) == Augmentation(0.1, True, 0.2, 3, 4, 0.5, 0.6, 0.7, 0.8)
    assert {each.name for each in fields(Augmentation)} <= {each.name for each in fields(Recipe)}
    short = ShortTraining(load_data("digits"), crop=0.1, cutout=0.2)
    assert Augmentation.of(short, mirror=False) == Augmentation(crop=0.1, cutout=0.2)
