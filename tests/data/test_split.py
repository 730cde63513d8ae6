import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multilabel_pl.data.split import split_indices, stratified_split
from multilabel_pl.errors import InputError


@settings(deadline=None)  # a first call is slow on a busy machine
@given(st.data())
def test_a_split_loses_and_doubles_nothing(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    val_size = data.draw(st.integers(0, size - 1))
    train, val = split_indices(size, val_size, seed=data.draw(st.integers(0, 100)))
    assert len(val) == val_size
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(size))


def test_a_split_depends_on_its_seed_alone() -> None:
    torch.manual_seed(0)
    _, first = split_indices(100, 20, seed=3)
    torch.manual_seed(1)
    _, second = split_indices(100, 20, seed=3)
    _, other = split_indices(100, 20, seed=4)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("val_size", [-1, 10, 11])
def test_a_split_must_leave_something(val_size: int) -> None:
    with pytest.raises(InputError, match=rf"val_size must be in \[0, 10\), got {val_size}"):
        split_indices(10, val_size, seed=0)


def zipf_targets(size: int, labels: int, seed: int = 0) -> Tensor:
    """Makes targets (size, labels) of about 3 tags an image, the label of rank r with a frequency of 0.6 / r."""
    chance = 0.6 / torch.arange(1, labels + 1)
    return (torch.rand(size, labels, generator=torch.Generator().manual_seed(seed)) < chance).float()


def random_targets(data: st.DataObject, size: int, labels: int) -> Tensor:
    tags = data.draw(st.lists(st.booleans(), min_size=size * labels, max_size=size * labels))
    return torch.tensor(tags, dtype=torch.bool).view(size, labels)


def on_both_sides(targets: Tensor, rest: Tensor, aside: Tensor) -> Tensor:
    """Tells of each label that has two images or more whether it is on both sides."""
    both = targets[rest].bool().any(0) & targets[aside].bool().any(0)
    return both[targets.sum(0) >= 2]


def share_errors(targets: Tensor, aside: Tensor) -> Tensor:
    """Returns how far each label's share of the images set aside is from their share of all, relatively (L,)."""
    return (targets[aside].sum(0) / targets.sum(0) / (len(aside) / len(targets)) - 1).abs()


@pytest.mark.parametrize(("size", "seed"), [(500, 0), (1000, 1), (5000, 2)])
def test_a_stratified_split_keeps_shares_and_size(size: int, seed: int) -> None:
    targets = zipf_targets(10_000, labels=100)  # the rarest label has about 60 images
    rest, aside = stratified_split(targets, size, seed)
    _, drawn = split_indices(len(targets), size, seed)
    stratified, random = share_errors(targets, aside), share_errors(targets, drawn)
    one_image = len(targets) / size / targets.sum(0)  # as the error of a share
    assert (len(rest), len(aside)) == (10_000 - size, size)
    assert (stratified <= torch.maximum(2 * one_image, torch.tensor(0.05))).all()
    assert stratified.mean() < random.mean() / 4


def test_a_stratified_split_is_of_what_is_known() -> None:
    targets = zipf_targets(2000, labels=30)
    known = torch.rand(targets.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    partly = targets.where(known, torch.nan)
    rest, aside = stratified_split(partly, 200, seed=0)
    expected = stratified_split(partly.nan_to_num(0), 200, seed=0)
    assert (rest.tolist(), aside.tolist()) == tuple(map(Tensor.tolist, expected))
    positives = partly.nansum(0)
    assert (partly[aside].nansum(0) / positives).tolist() == pytest.approx([0.1] * 30, abs=0.05)


@pytest.mark.parametrize("size", [100, 300, 900])
def test_rare_labels_are_on_both_sides(size: int) -> None:
    targets = zipf_targets(1000, labels=200)[:, 20:]  # of 0 to about 30 images, and many images carry none
    rest, aside = stratified_split(targets, size, seed=0)
    assert on_both_sides(targets, rest, aside).all()
    assert len(aside) == pytest.approx(size, abs=5)
    assert on_both_sides(targets, *split_indices(1000, size, seed=0)).float().mean() < 0.9


@settings(deadline=None)
@given(st.data())
def test_a_stratified_split_loses_and_doubles_nothing(data: st.DataObject) -> None:
    images = data.draw(st.integers(1, 12))
    targets = random_targets(data, images, labels=data.draw(st.integers(0, 6)))
    size = data.draw(st.integers(0, images - 1))
    rest, aside = stratified_split(targets, size, seed=data.draw(st.integers(0, 100)))
    assert sorted([*rest.tolist(), *aside.tolist()]) == list(range(images))
    assert rest.tolist() == sorted(rest.tolist())
    assert aside.tolist() == sorted(aside.tolist())
    assert len(rest) > 0
    assert (len(aside) > 0) == (size > 0)


@settings(deadline=None)
@given(st.data())
def test_labels_with_an_image_of_their_own_are_on_both_sides(data: st.DataObject) -> None:
    labels = data.draw(st.integers(1, 6))
    mixed = random_targets(data, data.draw(st.integers(1, 8)), labels)
    targets = torch.cat([mixed, torch.eye(labels, dtype=torch.bool)])  # that image can always go where it is missing
    size = data.draw(st.integers(1, len(targets) - 1))
    assert on_both_sides(targets, *stratified_split(targets, size, seed=data.draw(st.integers(0, 100)))).all()


@settings(deadline=None)
@given(st.data())
def test_pairs_without_a_circle_are_on_both_sides(data: st.DataObject) -> None:
    images = data.draw(st.integers(2, 12))
    parents = torch.tensor([data.draw(st.integers(0, image - 1)) for image in range(1, images)])
    pairs = torch.zeros(images, images - 1, dtype=torch.bool)  # a label for each image after the first and its parent
    pairs[torch.arange(1, images), torch.arange(images - 1)] = True
    pairs[parents, torch.arange(images - 1)] = True
    others = random_targets(data, images, labels=3)
    targets = torch.cat([others[:, others.sum(0) != 2], pairs], dim=1)  # another pair might close a circle
    rest, aside = stratified_split(targets, data.draw(st.integers(1, images - 1)), seed=data.draw(st.integers(0, 100)))
    assert on_both_sides(pairs, rest, aside).all()


@pytest.mark.parametrize("size", [1, 2])
def test_a_triangle_of_pairs_has_one_on_one_side_only(size: int) -> None:
    triangle = torch.tensor([[1.0, 1, 0], [0, 1, 1], [1, 0, 1]])
    rest, aside = stratified_split(triangle, size, seed=0)
    assert on_both_sides(triangle, rest, aside).sum() == 2
    assert len(aside) == size


def test_of_labels_with_as_few_images_left_those_missing_on_a_side_go_first() -> None:
    tags = ["100100", "010101", "101011", "000001", "011000", "001110"]  # one move repairs no split of the other order
    targets = torch.tensor([[int(tag) for tag in image] for image in tags])
    for seed in range(10):
        assert on_both_sides(targets, *stratified_split(targets, 3, seed)).all()


def test_a_missing_label_moves_an_image() -> None:
    targets = torch.tensor([[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 1]])  # no single image carries all three labels
    rest, aside = stratified_split(targets, 1, seed=0)
    assert on_both_sides(targets, rest, aside).all()
    assert len(aside) == 2


def test_a_missing_label_swaps_images_where_it_can() -> None:
    targets = torch.tensor([[1, 0, 1], [0, 1, 1], [0, 0, 0], [1, 0, 1], [1, 1, 0], [0, 0, 0]])
    for seed in range(50):  # for some of which the first pass leaves a label out
        rest, aside = stratified_split(targets, 2, seed)
        assert on_both_sides(targets, rest, aside).all()
        assert len(aside) == 2


def test_images_without_tags_are_split_to_size() -> None:
    rest, aside = stratified_split(torch.zeros(10, 3), 4, seed=0)
    assert (len(rest), len(aside)) == (6, 4)


def test_a_stratified_split_of_size_0_sets_none_aside() -> None:
    rest, aside = stratified_split(zipf_targets(10, labels=3), 0, seed=0)
    assert rest.tolist() == list(range(10))
    assert aside.tolist() == []


def test_a_stratified_split_depends_on_its_seed_alone() -> None:
    targets = zipf_targets(100, labels=5)
    torch.manual_seed(0)
    _, first = stratified_split(targets, 20, seed=3)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    _, second = stratified_split(targets, 20, seed=3)
    _, other = stratified_split(targets, 20, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("size", [-1, 10, 11])
def test_a_stratified_split_must_leave_something(size: int) -> None:
    with pytest.raises(InputError, match=rf"val_size must be in \[0, 10\), got {size}"):
        stratified_split(torch.ones(10, 2), size, seed=0)


def test_a_large_stratified_split_is_fast() -> None:
    targets = zipf_targets(100_000, labels=100)
    start = time.perf_counter()
    _, aside = stratified_split(targets, 5000, seed=0)
    assert time.perf_counter() - start < 30  # seconds; it takes about 2
    assert len(aside) == 5000
