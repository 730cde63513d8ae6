"""What a process without a GPU can spare itself."""

import os

import torch


def stop_looking_for_gpus() -> None:
    """Notes for torch that there are no NVIDIA GPUs, if it finds none.

    Its optimizers ask in every step whether there is one. As Lightning sets PYTORCH_NVML_BASED_CUDA_CHECK, each answer
    is a search for NVIDIA's library, which takes 0.1 ms, unless CUDA_VISIBLE_DEVICES says that there is none.
    """
    if torch.version.hip is None and not torch.cuda.is_available():
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
