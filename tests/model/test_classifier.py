import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Task
from multilabel_pl.cli.main import main
from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.model.head import HeadName
from multilabel_pl.model.loss import asymmetric_loss
from multilabel_pl.model.network import ConvPoolDense
from multilabel_pl.model.prediction import Prediction
from tests.conftest import QUIET

SHAPE = (1, 28, 28)
TASK = Task(LABELS, SHAPE)


class MyNetwork(nn.Module):
    """A network of a user's own, with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm1d(49)
        self.scores = nn.Linear(49, len(LABELS))

    def forward(self, images: Tensor) -> Tensor:
        pooled = F.avg_pool2d(images.float() / 255, 4).flatten(1)
        scores: Tensor = self.scores(self.normalise(pooled))
        return scores


def trainer_for(**options: Any) -> Trainer:
    """Returns Lightning's own trainer, which writes nothing."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(**{**quiet, "enable_model_summary": False, "max_epochs": 1, **options})


def opened(folder: str) -> MNISTDataModule:
    data = MNISTDataModule(data_dir=folder, val_size=100)
    data.setup("fit")
    data.setup("test")
    return data


@pytest.fixture(scope="module")
def images() -> Tensor:
    return read_digits(ARCHIVES, "test").images[:300]  # more than one batch of predict_images


def probabilities_of(predictions: list[Prediction]) -> Tensor:
    return torch.tensor([list(prediction.probabilities.values()) for prediction in predictions])


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_a_checkpoint_predicts_the_tags_of_its_labels(
    head: HeadName, small_set: str, images: Tensor, tmp_path: Path
) -> None:
    trainer = trainer_for(limit_train_batches=3)
    trainer.fit(MultiLabelClassifier(head), datamodule=opened(small_set))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    model = MultiLabelClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert model.task == TASK
    predictions = model.predict_images(images)
    with torch.no_grad():
        scores = model.network(images)
    expected = scores.sigmoid() if head == "sigmoid" else scores.softmax(dim=1)
    torch.testing.assert_close(probabilities_of(predictions), expected, atol=1e-5, rtol=0)
    thresholds = model.decision.thresholds.tolist()
    for prediction in predictions:
        assert tuple(prediction.probabilities) == LABELS
        pairs = zip(prediction.probabilities.items(), thresholds, strict=True)
        assert prediction.tags == [label for (label, value), threshold in pairs if value >= threshold]
    assert any(prediction.tags for prediction in predictions)


def test_one_image_is_predicted_as_among_others(checkpoint: str, images: Tensor) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    [alone] = model.predict_images(images[3])
    among = model.predict_images(images[:9])[3]
    assert alone.tags == among.tags
    torch.testing.assert_close(probabilities_of([alone]), probabilities_of([among]), atol=1e-5, rtol=0)
    assert model.predict_images(images[3].numpy()) == [alone]
    assert model.predict_images(images[:0]) == []


def test_hyperparameters_are_plain_values(small_run: Path) -> None:
    content = torch.load(small_run / "best.ckpt", weights_only=True)
    options = content["hyper_parameters"]
    assert options["task"] == TASK.to_dict()
    assert (options["head"], options["network"], options["threshold"]) == ("sigmoid", "conv_pool_dense", "f1")
    assert {type(value) for value in options.values()} <= {str, bool, int, float, dict, type(None)}
    assert {"decision.slopes", "decision.offsets", "decision.thresholds"} <= content["state_dict"].keys()


def test_thresholds_are_in_the_checkpoint(tmp_path: Path, small_set: str) -> None:
    thresholds = [i / 10 for i in range(11)]
    trainer = trainer_for(limit_train_batches=1)
    trainer.fit(MultiLabelClassifier(threshold=thresholds), datamodule=opened(small_set))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    model = MultiLabelClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert model.decision.thresholds.tolist() == pytest.approx(thresholds)
    [prediction] = model.predict_images(torch.zeros(SHAPE, dtype=torch.uint8))
    pairs = zip(LABELS, thresholds, strict=True)
    assert prediction.tags == [label for label, threshold in pairs if prediction.probabilities[label] >= threshold]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "tanh"}, "head must be one of sigmoid, softmax, got tanh"),
        (
            {"network": "conv_pool"},
            "network must be conv_pool_dense, .* or the name of a timm model, got conv_pool: did",
        ),
        ({"lr": 0.0}, r"lr must be a positive number, got 0\.0"),
        ({"lr": float("nan")}, "lr must be a positive number, got nan"),
        ({"lr": float("inf")}, "lr must be a positive number, got inf"),
        ({"lr_schedule": "cosine"}, "lr_schedule must be one of constant, one_cycle, got cosine"),
        ({"weight_decay": -1.0}, r"weight_decay must be at least 0, got -1\.0"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1\.5"),
        ({"threshold": [0.5, float("nan")]}, r"threshold must be in \[0, 1\], got nan"),
        ({"threshold": [0.5, 0.5]}, "threshold must be a number or 11 of them, got 2"),
        ({"head": "softmax", "task": Task(["cat"], SHAPE)}, "the softmax head needs at least 2 labels, got 1"),
        ({"task": Task([], SHAPE)}, "the task has no labels: name at least one"),
        ({"task": Task(LABELS, (1, 28, 1))}, "images must be at least 2x2 pixels, got 28x1"),
        ({"pos_weight": "balanced"}, "pos_weight must be auto or a list of numbers, got balanced"),
        ({"pos_weight": "a list of numbers"}, "pos_weight must be auto or a list of numbers, got a list of numbers"),
        ({"pos_weight": [1.0, 2.0]}, r"pos_weight must be auto, or 11 positive numbers, got \[1\.0, 2\.0\]"),
        ({"loss": "hinge"}, "loss must be one of bce, asymmetric, got hinge"),
        ({"gamma_pos": -1.0}, r"gamma_pos must be at least 0, got -1\.0"),
        ({"gamma_neg": float("inf")}, "gamma_neg must be at least 0, got inf"),
        ({"clip": 1.0}, r"clip must be in \[0, 1\), got 1\.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1\.0"),
    ],
    ids=str,
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiLabelClassifier(**{"task": TASK, **options})


def test_thresholds_are_changed_as_a_checkpoint_is_loaded(checkpoint: str) -> None:
    learned = MultiLabelClassifier.load_from_checkpoint(checkpoint).decision.thresholds
    ruled = MultiLabelClassifier.load_from_checkpoint(checkpoint, threshold="recall>=0.9").decision
    assert ruled.thresholds.equal(learned)  # until the next fit
    assert ruled.threshold == "recall>=0.9"
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint, threshold=0.25)
    assert model.decision.thresholds.tolist() == [0.25] * 11
    assert not learned.equal(model.decision.thresholds)
    with pytest.raises(InputError, match="threshold must be a number or 11 of them, got 2"):
        MultiLabelClassifier.load_from_checkpoint(checkpoint, threshold=[0.5, 0.5])


def test_another_models_weights_are_refused(checkpoint: str, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["network"] = "conv_stack"
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"other.ckpt is another model's checkpoint: its weights have other names"):
        MultiLabelClassifier.load_from_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"best.ckpt is another model's checkpoint: its weights have other names"):
        trainer_for().test(
            MultiLabelClassifier(network="conv_stack"), datamodule=MNISTDataModule(), ckpt_path=checkpoint
        )


def test_options_of_another_model_are_refused(checkpoint: str, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["depth"] = 3
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"^no model can be built from .*other.ckpt: .*unexpected keyword .*'depth'"):
        MultiLabelClassifier.load_from_checkpoint(tmp_path / "other.ckpt")


def test_predictions_print_nicely(checkpoint: str, images: Tensor) -> None:
    [prediction] = MultiLabelClassifier.load_from_checkpoint(checkpoint).predict_images(images[0])
    assert re.fullmatch(r"7 \([01]\.\d{3}\), ≥5 \([01]\.\d{3}\)", str(prediction))
    assert re.fullmatch(r"Prediction\(tags=\['7', '≥5'\], probabilities={'0': 0\.\d{3}, .*}\)", repr(prediction))
    assert str(Prediction([], {"cat": 0.1})) == "no tag"


def test_a_network_of_ones_own_is_trained_saved_and_loaded(
    workplace: Path, small_set: str, images: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    model = MultiLabelClassifier(network=MyNetwork(), calibrate=True)
    trainer = trainer_for()
    trainer.fit(model, datamodule=opened(small_set))
    trainer.save_checkpoint("own.ckpt")
    predictions = model.predict_images(images)
    message = "own.ckpt was trained with a module of your own: load it from Python, with network=…"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        MultiLabelClassifier.load_from_checkpoint("own.ckpt")
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["test", *QUIET, "--ckpt_path", "own.ckpt"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    loaded = MultiLabelClassifier.load_from_checkpoint("own.ckpt", network=MyNetwork())
    assert isinstance(loaded.network, MyNetwork)
    assert loaded.predict_images(images) == predictions
    with pytest.raises(InputError, match=r"own.ckpt is another model's checkpoint: its weights have other names or"):
        MultiLabelClassifier.load_from_checkpoint("own.ckpt", network=ConvPoolDense(SHAPE, 11))


def test_a_loaded_model_predicts_when_called_and_trains_when_fitted(
    workplace: Path, small_set: str, images: Tensor
) -> None:
    torch.manual_seed(0)
    data = opened(small_set)
    trainer = trainer_for(max_steps=3)
    trainer.fit(MultiLabelClassifier(network="conv_stack"), datamodule=data)
    trainer.save_checkpoint("model.ckpt")
    model = MultiLabelClassifier.load_from_checkpoint("model.ckpt")
    assert not any(module.training for module in model.modules())

    def statistics() -> list[Tensor]:
        return [value.clone() for name, value in model.state_dict().items() if "running" in name]

    before = statistics()
    assert len(before) == 6
    with torch.no_grad():
        probabilities = model(images).sigmoid()
    torch.testing.assert_close(probabilities_of(model.predict_images(images)), probabilities, atol=1e-5, rtol=0)
    assert all(torch.equal(*pair) for pair in zip(statistics(), before, strict=True))
    trainer_for(max_steps=3).fit(model, datamodule=data)
    assert not any(torch.equal(*pair) for pair in zip(statistics(), before, strict=True))


def test_a_model_is_bound_to_one_task() -> None:
    model = MultiLabelClassifier()
    assert model.task is None
    model.bind(TASK)
    network, decision = model.network, model.decision
    model.bind(Task(list(LABELS), SHAPE, "mnist"))
    assert model.network is network
    assert model.decision is decision
    assert model.task == TASK
    assert model.hparams["task"] == TASK.to_dict()
    with pytest.raises(InputError, match=r"model's labels are .*, 9, ≥5, but the data's are .*, 9, large"):
        model.bind(Task([*LABELS[:10], "large"], SHAPE))
    with pytest.raises(InputError, match="model's images are 1x28x28, but the data's are 1x32x32"):
        model.bind(Task(LABELS, (1, 32, 32)))


def test_a_model_without_a_task_names_the_remedy(small_set: str) -> None:
    image = torch.zeros(SHAPE, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"^the model has no labels yet: fit it, or load it from a checkpoint$"):
        MultiLabelClassifier().predict_images(image)
    with pytest.raises(InputError, match=r"^the model has no labels yet: give it a task, or a data module to take it"):
        trainer_for().fit(MultiLabelClassifier(), opened(small_set).train_dataloader())


@pytest.mark.parametrize("task", [Task([*LABELS[:10], "large"], SHAPE), Task(LABELS, (1, 32, 32))], ids=str)
def test_data_of_another_task_are_refused(task: Task, small_set: str) -> None:
    with pytest.raises(InputError, match=r"^the model's (labels|images) are .*, but the data's are "):
        trainer_for().test(MultiLabelClassifier(task=task), datamodule=MNISTDataModule(data_dir=small_set))


def test_lightnings_own_trainer_and_loaders_are_enough(small_set: str) -> None:
    data = opened(small_set)
    trainer = trainer_for()
    trainer.fit(MultiLabelClassifier(task=TASK), data.train_dataloader(), data.val_dataloader())
    assert trainer.callback_metrics["val_loss"].isfinite()


def test_training_repeats_itself(small_set: str) -> None:
    def weights() -> list[Tensor]:
        torch.manual_seed(3)
        model = MultiLabelClassifier()
        trainer_for(max_steps=5).fit(model, datamodule=opened(small_set))
        return list(model.parameters())

    assert all(torch.equal(*pair) for pair in zip(weights(), weights(), strict=True))


def test_positives_are_weighed_by_the_training_images(tmp_path: Path, small_set: str) -> None:
    data = opened(small_set)
    model = MultiLabelClassifier(pos_weight="auto")
    trainer = trainer_for(limit_train_batches=3)
    trainer.fit(model, datamodule=data)
    assert isinstance(data.train_set, LabelledImages)
    assert isinstance(data.val_set, LabelledImages)
    positives = data.train_set.targets.sum(dim=0)
    weights = (500 - positives) / positives
    assert model.loss.pos_weight is not None
    torch.testing.assert_close(model.loss.pos_weight, weights)
    with torch.no_grad():
        expected = F.binary_cross_entropy_with_logits(
            model(data.val_set.images), data.val_set.targets, pos_weight=weights
        )
    assert trainer.callback_metrics["val_loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = MultiLabelClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert again.loss.pos_weight is not None
    assert torch.equal(again.loss.pos_weight, model.loss.pos_weight)


def test_positives_are_counted_in_loaders_without_a_data_module(small_set: str) -> None:
    data = opened(small_set)
    model = MultiLabelClassifier(task=TASK, pos_weight="auto")
    trainer_for(max_steps=1).fit(model, data.train_dataloader())
    assert model.loss.pos_weight is not None
    assert (model.loss.pos_weight != 1).all()


class FirstStep(Callback):
    """Keeps the first batch of a run and its loss."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batch, self.loss = batch, outputs["loss"].item()


def test_training_minimises_the_loss_that_was_asked_for(small_set: str) -> None:
    weights = [float(i + 1) for i in range(11)]
    options: dict[str, Any] = {"loss": "asymmetric", "gamma_pos": 1.0, "gamma_neg": 2.0, "clip": 0.1}
    model = MultiLabelClassifier(task=TASK, pos_weight=weights, label_smoothing=0.2, calibrate=True, **options)
    before = copy.deepcopy(model)
    step = FirstStep()
    trainer_for(max_steps=1, callbacks=[step]).fit(model, datamodule=opened(small_set))
    images, targets = step.batch
    expected = asymmetric_loss(before(images), targets * 0.8 + 0.1, 1.0, 2.0, 0.1, torch.tensor(weights))
    assert step.loss == pytest.approx(expected.item(), rel=1e-5)


class Gradients(Callback):
    """Keeps the gradients of the first step of a run, and its batch."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batch = batch

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.gradients = [parameter.grad.clone() for parameter in pl_module.parameters()]


@pytest.mark.parametrize("inspected", [True, False])
def test_unknown_labels_teach_nothing(inspected: bool, small_set: str) -> None:
    data = opened(small_set)
    assert isinstance(data.train_set, LabelledImages)
    targets = data.train_set.targets
    known = torch.rand(targets.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    targets[~known] = torch.nan
    others = DataLoader(TensorDataset(data.train_set.images, targets), batch_size=50)  # which no one can look into
    model = MultiLabelClassifier(task=TASK)
    before = copy.deepcopy(model)
    seen = Gradients()
    trainer_for(max_steps=1, callbacks=[seen]).fit(model, data.train_dataloader() if inspected else others)
    images, some = seen.batch
    assert some.isnan().any()
    logits = before(images)
    chosen = ~some.isnan()
    loss = F.binary_cross_entropy_with_logits(logits[chosen], some[chosen])
    expected = torch.autograd.grad(loss, list(before.parameters()))
    torch.testing.assert_close(seen.gradients, list(expected), rtol=1e-4, atol=1e-6)


def test_what_is_known_of_the_validation_images_is_measured_whatever_training_knows(small_set: str) -> None:
    data = opened(small_set)
    assert isinstance(data.val_set, LabelledImages)
    data.val_set.targets[:, 2:] = torch.nan
    model = MultiLabelClassifier()
    trainer = trainer_for(limit_train_batches=3)
    trainer.fit(model, datamodule=data)
    assert model.loss.all_known  # the training images are
    with torch.no_grad():
        logits = model(data.val_set.images)[:, :2]
        loss = F.binary_cross_entropy_with_logits(logits, data.val_set.targets[:, :2])
    assert trainer.callback_metrics["val_loss"].item() == pytest.approx(loss.item(), rel=1e-4)
    evaluation = model.train().evaluate(torch.zeros(100, 11), data.val_set.targets)
    assert evaluation.loss.item() == pytest.approx(math.log(2))


def test_an_interrupted_evaluation_leaves_nothing_behind(small_set: str) -> None:
    data = opened(small_set)
    model = MultiLabelClassifier(task=TASK)
    assert data.test_set is not None
    model.validation_step((data.test_set.images[:100], data.test_set.targets[:100]), 0)
    trainer = trainer_for(limit_test_batches=1)
    for _ in range(2):
        trainer.test(model, datamodule=data, verbose=False)
        assert model.evaluation is not None
        assert len(model.evaluation.logits) == data.eval_batch_size


def test_a_fit_without_validation_notes_that_no_threshold_was_learned(
    small_set: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = MultiLabelClassifier(task=TASK)
    trainer_for(max_steps=1).fit(model, opened(small_set).train_dataloader())
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert line == f"note: {model.decision.notes[0]}"
    assert model.decision.thresholds.tolist() == [0.5] * 11
