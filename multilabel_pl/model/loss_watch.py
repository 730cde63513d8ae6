"""A watch on the losses of a training, of many steps at once, as a GPU would wait at each."""

import torch
from torch import Tensor

from multilabel_pl.errors import InputError


class LossWatch:
    """Finds out whether a training is lost."""

    def __init__(self) -> None:
        self._losses: list[tuple[int, Tensor]] = []

    def add(self, step: int, loss: Tensor) -> None:
        """Takes down the loss of a step."""
        self._losses.append((step, loss.detach()))

    def forget(self) -> None:
        """Forgets what hasn't been looked at, such as another training's."""
        self._losses.clear()

    def check(self) -> None:
        """Looks at the losses since the last time.

        Raises:
            InputError: If one was no finite number.
        """
        if not self._losses:
            return
        steps, losses = zip(*self._losses, strict=True)
        self.forget()
        finite = torch.stack(losses).isfinite().tolist()
        if not all(finite):
            step = steps[finite.index(False)]
            raise InputError(f"the loss of step {step} was not a finite number: try a lower --model.lr")
