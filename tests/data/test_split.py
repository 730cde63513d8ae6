import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multilabel_pl.data.split import split_indices
from multilabel_pl.errors import InputError


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
