"""Changes to the contents of checkpoints, for tests with any of them."""

import copy
import io
import math
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

Place = tuple[Any, ...]  # the names and numbers that lead to a value
Change = Callable[[Any], Any]  # of the value there

TYPES = {"double": torch.float64, "integers": torch.int64}
FACTORS = {"nan": math.nan, "huge": 1e30, "negative": -1.0}


def strange_tensors() -> list[Tensor]:
    """Returns tensors of unusual shapes, layouts and numbers; huge ones are one number or none."""
    some = torch.rand(4, 3)
    return [
        torch.zeros(()),
        torch.zeros(0),
        torch.zeros(3),
        torch.zeros(11, dtype=torch.int64),
        torch.zeros(1).expand(11),
        torch.zeros(1).expand(10**9),
        torch.zeros(1).expand(10**6, 10**6),
        some.T,
        some[:, 1],
        some.to_sparse(),
        torch.sparse_coo_tensor(
            torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (10**9, 10**9), check_invariants=True
        ),
        torch.zeros(11, dtype=torch.cfloat),
        torch.zeros(11, dtype=torch.cfloat).conj(),
        torch.zeros(3, device="meta"),
        torch.zeros(11, requires_grad=True),
        torch.nn.Parameter(torch.zeros(11)),
        torch.tensor(math.nan),
        torch.tensor(-math.inf),
        torch.full((11,), 1e38),
        torch.tensor(True),
        torch.zeros(11, dtype=torch.float16),
        torch.zeros(11, dtype=torch.float8_e5m2),
    ]


def values() -> st.SearchStrategy[Any]:
    """Draws what may be in the place of another value."""
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([-1, 0, 1, 2, 7, 2**31, 2**53, 2**63, -(2**63), 10**30, -(10**400)]),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["conv_stack", "hf-hub:timm/resnet18", "os.system", "../x.ckpt", "s3://x", "\ud800", "\0", ""]),
        st.binary(max_size=5),
        st.sampled_from(strange_tensors()),
        st.sampled_from([torch.float32, torch.Size([2]), torch.device("cuda"), complex(1, 2)]),
    )
    names = st.text(max_size=3) | st.integers(-1, 3) | st.none()
    return st.one_of(
        plain, st.lists(plain, max_size=3), st.dictionaries(names, plain, max_size=3), st.tuples(plain, plain)
    )


def changes() -> st.SearchStrategy[Change]:
    """Draws changes of a value, most of them to another one of its kind."""

    def of_tensor(value: Any, how: str) -> Any:
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.numel() == 0:
            return value
        if how == "expand":
            return value.flatten()[:1].expand(value.numel()).view(value.shape)
        if how == "transpose":
            return value.mT.contiguous().mT if value.ndim > 1 else value.flip(0)
        if how == "view":
            return value.flatten()[1:]
        if how in TYPES:
            return value.to(TYPES[how])
        return value.float() * FACTORS[how]

    def of_number(value: Any, by: float) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return int(value * by) if isinstance(value, int) else value * by

    hows = st.sampled_from(["expand", "transpose", "view", *TYPES, *FACTORS])
    factors = st.sampled_from([0.0, -1.0, 0.5, 2.0, 1e9])
    return st.one_of(
        values().map(lambda value: lambda _: copy.deepcopy(value)),
        hows.map(lambda how: lambda value: of_tensor(value, how)),
        factors.map(lambda by: lambda value: of_number(value, by)),
        st.just(lambda value: [value, value]),
    )


def places(content: Any, place: Place = ()) -> list[Place]:
    """Returns the places of all values within a value."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [found for name, part in inner for found in [(*place, name), *places(part, (*place, name))]]


def mutate(content: dict[str, Any], where: float, how: str, change: Change, other: float) -> None:
    """Changes, removes or replaces one value, or adds another entry beside it, in place.

    Args:
        content: A checkpoint's.
        where: Which value, as a share of all. First its entry is drawn, so that the many weights are not all there is.
        how: `change`, `remove`, `copy` the value at `other`, or `add` a changed one under that one's name.
        change: The change.
        other: Another value, as a share of all.
    """
    entries = list(content)
    among = entries[int(where * len(entries) * 7) % len(entries)]
    choices = [place for place in places(content) if place[0] == among]
    every = places(content)
    place, source = choices[int(where * len(choices))], every[int(other * len(every))]
    inner, copied = content, content
    for name in place[:-1]:
        inner = inner[name]
    for name in source:
        copied = copied[name]
    last: Any = place[-1]
    if how == "remove":
        del inner[last]
    elif how == "copy":
        inner[last] = copy.deepcopy(copied)
    elif how == "add" and isinstance(inner, dict):
        inner[source[-1]] = change(inner[last])
    else:
        inner[last] = change(inner[last])


def repacked(file: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """Edits the pickle in a checkpoint, whose checksum is made to match again."""
    whole = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as archive, zipfile.ZipFile(whole, "w") as copied:
        for part in archive.namelist():
            content = archive.read(part)
            copied.writestr(part, edit(content) if part.endswith("data.pkl") else content)
    return whole.getvalue()
