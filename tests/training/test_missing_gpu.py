import os

import pytest
import torch

from multilabel_pl.training.missing_gpu import stop_looking_for_gpus


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_torch_does_not_look_for_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stop_looking_for_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    stop_looking_for_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"  # what a user says stays
