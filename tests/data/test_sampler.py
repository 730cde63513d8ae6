from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from multilabel_pl.data.sampler import MIXED, EpochOrder


def order(size: int, seed: int, epoch: int) -> list[int]:
    sampler = EpochOrder(size, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@settings(deadline=None)  # a busy machine may take its time
@given(st.integers(1, 200), st.integers(0, 2**64 - 1), st.integers(0, 1000))
def test_an_order_is_a_permutation_known_by_seed_and_epoch(size: int, seed: int, epoch: int) -> None:
    assert sorted(order(size, seed, epoch)) == list(range(size))
    assert order(size, seed, epoch) == order(size, seed, epoch)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 4), st.integers(0, 1000))
def test_processes_share_an_order_by_shards(shards: list[int], processes: int, epoch: int) -> None:
    size = sum(shards)
    orders = []
    for rank in range(processes):
        sampler = EpochOrder(size, 0, processes, rank, shards=shards)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    together = list(chain(*orders))
    assert set(map(len, orders)) == {-(-size // processes)}
    assert sorted(together[:size]) == list(range(size))
    assert together[size:] == together[: len(together) - size]


def test_images_come_a_few_shards_at_a_time() -> None:
    shards = [10] * 40
    sampler = EpochOrder(400, 0, shards=shards)
    found = [{image // 10 for image in images} for images in zip(*[iter(sampler)] * (10 * MIXED), strict=True)]
    assert [len(group) for group in found] == [MIXED] * 10
    assert set.union(*found) == set(range(40))
    assert found[0] != set(range(MIXED))


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(order(100, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25  # not even seed 0 in epoch 1 and seed 1 in epoch 0 agree
