import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from multilabel_pl import MultiLabelClassifier
from multilabel_pl.cli.main import main
from multilabel_pl.errors import InputError
from multilabel_pl.model.network import build_network
from multilabel_pl.model.timm_network import TimmNetwork
from tests.conftest import BRIEF, QUIET, small

SMALL = "test_resnet"  # one of timm's smallest


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", [SMALL, "lcnet_035", "test_vit"])
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 48)])
def test_networks_fit_the_images_and_the_labels(name: str, shape: tuple[int, int, int]) -> None:
    network = build_network(name, shape, 5, pretrained=False).eval()
    scores = network(images(4, *shape))
    assert scores.shape == (4, 5)
    assert not torch.equal(scores[0], scores[1])


def test_images_are_normalised_with_the_networks_own_statistics() -> None:
    network = TimmNetwork("resnet10t", (3, 32, 32), 2).eval()
    pixels = images(2, 3, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # ImageNet's
    normalised = (pixels / 255 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(network(pixels), network.model(normalised))
    grey = TimmNetwork("resnet10t", (1, 32, 32), 2).eval()
    pixels = images(2, 1, 32, 32)
    torch.testing.assert_close(grey(pixels), grey.model((pixels / 255 - mean.mean()) / std.mean()))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("resnet1", (3, 32, 32), "got resnet1: did you mean resnet18 or"),
        ("qwertyuiop", (3, 32, 32), "conv_stack or the name of a timm model, got qwertyuiop$"),
        ("conv_stak", (3, 32, 32), "got conv_stak: did you mean conv_stack or"),
        ("vgg11", (3, 16, 16), "vgg11 can't take images of 3x16x16"),
        ("nest_tiny", (3, 64, 48), "the network nest_tiny can't be made for images of 3x64x48"),
        ("resnet18.nothing", (3, 64, 64), "the network resnet18.nothing can't be made"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(name: str, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_network(name, shape, 2, pretrained=False)


def test_images_that_are_no_bytes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"images must be uint8 in 0\.\.255, got torch.float32"):
        TimmNetwork(SMALL, (3, 32, 32), 2)(torch.rand(1, 3, 32, 32))


def test_a_network_by_name_is_trained_tested_and_loaded(workplace: Path, small_set: str) -> None:
    main(["fit", *QUIET, *BRIEF, *small(small_set), "--model.network", SMALL])
    main(["test", *QUIET, "--figures", "false"])
    model = MultiLabelClassifier.load_from_checkpoint("runs/version_0/best.ckpt")
    assert isinstance(model.network, TimmNetwork)
    together = model.predict_images(images(3, 1, 28, 28))
    [alone] = model.predict_images(images(3, 1, 28, 28)[0])  # batch normalisation must not mix them
    assert list(alone.probabilities.values()) == pytest.approx(list(together[0].probabilities.values()), abs=1e-5)


PRETRAINED = """
import shutil, timm, torch
from huggingface_hub import constants
from pathlib import Path
from safetensors.torch import save_file
from multilabel_pl import MultiLabelClassifier, Task, Trainer

torch.manual_seed(0)
source = timm.create_model("test_resnet")
folder = Path(constants.HF_HUB_CACHE) / "models--timm--test_resnet.r160_in1k"
(folder / "snapshots" / "0").mkdir(parents=True)
(folder / "refs").mkdir()
(folder / "refs" / "main").write_text("0")
save_file(source.state_dict(), folder / "snapshots" / "0" / "model.safetensors")

task = Task(["cat", "dog"], (1, 40, 40))
model = MultiLabelClassifier(network="test_resnet", pretrained=True, task=task)
theirs, ours = source.state_dict(), model.network.model.state_dict()
assert torch.equal(ours["layer1.0.conv1.weight"], theirs["layer1.0.conv1.weight"])
assert torch.allclose(ours["conv1.0.weight"], theirs["conv1.0.weight"].sum(dim=1, keepdim=True), atol=1e-6)
try:
    MultiLabelClassifier(network="resnet18", pretrained=True, task=task)
except ValueError as error:
    assert type(error).__name__ == "InputError", error
    assert "the network resnet18 can't be made for images of 1x40x40: " in str(error)
trainer = Trainer(logger=False, enable_checkpointing=False)
trainer.strategy.connect(model)
trainer.save_checkpoint("model.ckpt")
shutil.rmtree(folder)  # a checkpoint needs nothing but itself
loaded = MultiLabelClassifier.load_from_checkpoint("model.ckpt")
assert torch.equal(loaded.network.model.state_dict()["layer1.0.conv1.weight"], theirs["layer1.0.conv1.weight"])
print("done")
"""


@pytest.mark.slow
def test_pretrained_weights_are_used_where_they_are_available(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", PRETRAINED], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.stdout.endswith("done\n"), finished.stderr
