"""Forms of tensors.

A file gives a tensor's shape, strides and storage apart from each other, and kernels trust them: a tensor of three
numbers in the place of a larger one is read beyond its end, and one number may pose as billions.
"""

from typing import Any

import torch
from torch import Tensor

from multilabel_pl.schema.forms import Form, either, shown

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def tensor_like(example: Tensor, finite: bool = False, same_layout: bool = False) -> Form:
    """Returns the form of tensors with the shape and the kind of numbers of another one, on the CPU.

    Args:
        example: The other one, on any device. Floats of another precision are of the same kind.
        finite: Whether all numbers must be finite.
        same_layout: Whether they must lie in memory in the same order.
    """
    shape, kind = tuple(example.shape), _kind(example.dtype)
    strides = _strides(example)

    def fits(value: Any) -> bool:
        return (
            is_dense(value)
            and (tuple(value.shape), _kind(value.dtype)) == (shape, kind)
            and (not same_layout or _strides(value) == strides)
            and (not finite or bool(value.isfinite().all()))
        )

    text = f"a dense tensor of {'finite ' * finite}{kind}, {_size(shape)}"
    return Form(text + " in the layout of its weight" * same_layout, fits, show=_shown)


def is_dense(value: Any) -> bool:
    """Whether a value is a plain tensor on the CPU, each of whose numbers has a place of its own, with no gaps."""
    if type(value) is not Tensor or value.__dict__ or value.layout != torch.strided or value.device.type != "cpu":
        return False
    if value.is_quantized or value.is_conj() or value.is_neg():
        return False
    size = 1
    for stride, length in sorted(_strides(value)):
        if stride != size:
            return False
        size *= length
    return True


def _strides(value: Tensor) -> list[tuple[int, int]]:
    """Returns the strides and lengths of the dimensions that are longer than 1, where strides mean nothing."""
    if value.layout != torch.strided or value.numel() == 0:
        return []
    return [pair for pair in zip(value.stride(), value.shape, strict=True) if pair[1] > 1]


def _kind(dtype: torch.dtype) -> str:
    if dtype in FLOATS:
        return "floats"
    return "whole numbers" if dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8) else str(dtype)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single one"


def _shown(value: Any) -> str:
    if not isinstance(value, Tensor):
        return shown(value)
    dense = is_dense(value)
    text = f"{'' if dense else 'one that is not dense, '}{_size(tuple(value.shape))} of {value.dtype}"
    infinite = dense and value.dtype in FLOATS and not value.isfinite().all()
    return text + ", not all finite" * infinite


def _is_list_of_int64(value: Any) -> bool:
    return is_dense(value) and value.ndim == 1 and value.dtype == torch.int64


SCORE = tensor_like(torch.tensor(0.0))  # of an epoch: a metric, or infinity before there is one
MAYBE_SCORE = either(SCORE, Form("nothing", lambda value: value is None))
FINGERPRINTS = Form("a dense list of 64-bit numbers", _is_list_of_int64, show=_shown)
