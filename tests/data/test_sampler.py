from hypothesis import given, settings
from hypothesis import strategies as st

from multilabel_pl.data.sampler import EpochOrder


def order(size: int, seed: int, epoch: int) -> list[int]:
    sampler = EpochOrder(size, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@settings(deadline=None)  # a busy machine may take its time
@given(st.integers(1, 200), st.integers(0, 2**64 - 1), st.integers(0, 1000))
def test_an_order_is_a_permutation_known_by_seed_and_epoch(size: int, seed: int, epoch: int) -> None:
    assert sorted(order(size, seed, epoch)) == list(range(size))
    assert order(size, seed, epoch) == order(size, seed, epoch)


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(order(100, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25  # not even seed 0 in epoch 1 and seed 1 in epoch 0 agree
