import math
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multilabel_pl.data.prediction_order import PredictionOrder
from multilabel_pl.errors import InputError


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 5))
def test_processes_have_whole_batches_one_after_the_other(size: int, batch_size: int, processes: int) -> None:
    if size < processes:
        with pytest.raises(InputError, match=f"{processes} processes can't share {size} images: lower --trainer"):
            PredictionOrder(size, batch_size, processes)
        return
    orders = [PredictionOrder(size, batch_size, processes, rank) for rank in range(processes)]
    assert list(chain(*orders)) == list(range(size))
    assert all(len(order) > 0 and order.share.start % order.batch_size == 0 for order in orders)
    assert {order.batch_size for order in orders} == {min(batch_size, size // processes)}


def test_what_is_done_is_left_out() -> None:
    order = PredictionOrder(100, 8, 2, 1)
    assert list(order) == list(range(48, 100))
    order.done = 16
    assert (list(order), len(order)) == (list(range(64, 100)), 36)


@pytest.mark.parametrize(("limit", "size"), [(1.0, 100), (0.5, 48), (2, 32), (1, 16), (100, 100), (0, 0)])
def test_a_limit_is_of_batches_of_each_process_or_a_share_of_all(limit: float, size: int) -> None:
    orders = [PredictionOrder(100, 8, 2, rank) for rank in (0, 1)]
    for order in orders:
        order.limit(limit)
    assert list(chain(*orders)) == list(range(size))
    assert isinstance(limit, float) or max(map(len, orders)) <= math.ceil(limit * 8)
