import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, Trainer

from multilabel_pl import MNISTDataModule, MultiLabelClassifier
from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.mnist import LABELS
from multilabel_pl.errors import InputError
from multilabel_pl.model.head import HeadName
from multilabel_pl.model.loss import asymmetric_loss
from multilabel_pl.model.prediction import Prediction

SHAPE = (1, 28, 28)


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_a_checkpoint_loads_with_weights_only_and_names_its_tags(runs: dict[HeadName, Path], head: HeadName) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(runs[head] / "best.ckpt", weights_only=True)
    assert model.labels == LABELS
    assert model.image_shape == list(SHAPE)
    data = MNISTDataModule()
    data.setup("test")
    assert data.test_set is not None
    images = data.test_set.images[:700]  # more than one batch
    predictions = model.predict_images(images)
    with torch.no_grad():
        probabilities = model(images).sigmoid()
    for prediction, row in zip(predictions, probabilities, strict=True):
        assert list(prediction.probabilities) == LABELS
        assert list(prediction.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-6)
        assert prediction.tags == [
            label for label, p, cut in zip(LABELS, row.tolist(), model.thresholds.tolist(), strict=True) if p >= cut
        ]
    [alone] = model.predict_images(images[3])
    assert alone.tags == predictions[3].tags
    assert model.predict_images(images[3].numpy()) == [alone]
    assert model.predict_images(images[:0]) == []


def test_thresholds_are_in_the_checkpoint(tmp_path: Path) -> None:
    thresholds = [i / 10 for i in range(11)]
    data = MNISTDataModule(batch_size=5, eval_batch_size=5)
    trainer = Trainer(fast_dev_run=True, logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(MultiLabelClassifier(threshold=thresholds), datamodule=data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    model = MultiLabelClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert model.thresholds.tolist() == pytest.approx(thresholds)
    [prediction] = model.predict_images(torch.zeros(SHAPE, dtype=torch.uint8))
    assert prediction.tags == [
        label for label, cut in zip(LABELS, thresholds, strict=True) if prediction.probabilities[label] >= cut
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "tanh"}, "head must be one of sigmoid, softmax, got tanh"),
        ({"conv_data_format": "NCHW"}, "conv_data_format must be one of channels_first, channels_last, got NCHW"),
        ({"lr": 0.0}, "lr must be a positive number, got 0.0"),
        ({"lr": float("nan")}, "lr must be a positive number, got nan"),
        ({"lr": float("inf")}, "lr must be a positive number, got inf"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1.5"),
        ({"threshold": [0.5, float("nan")]}, r"threshold must be in \[0, 1\], got nan"),
        ({"threshold": [0.5, 0.5]}, "threshold must be a number or 11 of them, got 2"),
        ({"head": "softmax", "labels": ["cat"]}, "softmax head needs at least 2 labels, got 1"),
        ({"labels": ["cat", "dog", "cat"]}, "labels must differ, got cat twice"),
        ({"image_shape": [28, 28]}, "image_shape must be channels, height and width, got 28x28"),
        ({"image_shape": (1, 28, 1)}, "at least 2x2 pixels, got 28x1"),
        ({"background": "nothing"}, "background must be a colour such as white or #ffffff, got nothing"),
        ({"pos_weight": "balanced"}, "pos_weight must be one of auto, a list of numbers, got balanced"),
        ({"preprocessing": "cut"}, "preprocessing must be one of resize, mnist, got cut"),
        ({"loss": "hinge"}, "loss must be one of bce, asymmetric, got hinge"),
        ({"gamma_pos": -1.0}, "gamma_pos must be at least 0, got -1.0"),
        ({"gamma_neg": float("inf")}, "gamma_neg must be at least 0, got inf"),
        ({"clip": 1.0}, r"clip must be in \[0, 1\), got 1.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"labels": []}, "a model needs at least one label, got none"),
        ({"image_shape": (0, 28, 28)}, "image_shape must be channels, height and width, got 0x28x28"),
        ({"pos_weight": [1.0, 2.0]}, r"pos_weight must be auto, or 11 positive numbers, got \[1.0, 2.0\]"),
        ({"pos_weight": [0.0] * 11}, "pos_weight must be auto, or 11 positive numbers"),
    ],
    ids=str,
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiLabelClassifier(**{"labels": LABELS, "image_shape": SHAPE, **options})


def test_thresholds_are_changed_as_a_checkpoint_is_loaded(runs: dict[HeadName, Path]) -> None:
    path = runs["sigmoid"] / "best.ckpt"
    learned = MultiLabelClassifier.load_from_checkpoint(path).thresholds
    assert MultiLabelClassifier.load_from_checkpoint(path, threshold="recall>=0.9").thresholds.equal(learned)
    model = MultiLabelClassifier.load_from_checkpoint(path, threshold=0.25)
    assert model.thresholds.tolist() == [0.25] * 11
    assert not learned.equal(model.thresholds)
    with pytest.raises(InputError, match="threshold must be a number or 11 of them, got 2"):
        MultiLabelClassifier.load_from_checkpoint(path, threshold=[0.5, 0.5])


def test_another_models_weights_are_refused(runs: dict[HeadName, Path], tmp_path: Path) -> None:
    checkpoint = torch.load(runs["sigmoid"] / "best.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["network"] = "conv_stack"
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"other.ckpt is another model's checkpoint: its weights have other names"):
        MultiLabelClassifier.load_from_checkpoint(tmp_path / "other.ckpt")


def test_predictions_print_nicely(runs: dict[HeadName, Path]) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(runs["sigmoid"] / "best.ckpt")
    data = MNISTDataModule()
    data.setup("test")
    assert data.test_set is not None
    [prediction] = model.predict_images(data.test_set.images[0])
    assert re.fullmatch(r"7 \([01]\.\d{3}\), ≥5 \([01]\.\d{3}\)", str(prediction))
    assert re.fullmatch(r"Prediction\(tags=\['7', '≥5'\], probabilities={'0': 0\.\d{3}, .*}\)", repr(prediction))
    assert str(Prediction([], {"cat": 0.1})) == "no tag"


def test_a_model_without_labels_says_so() -> None:
    with pytest.raises(InputError, match="no labels yet"):
        MultiLabelClassifier().predict_images(torch.zeros(SHAPE, dtype=torch.uint8))


def quiet_trainer() -> Trainer:
    return Trainer(fast_dev_run=True, logger=False, enable_progress_bar=False, enable_model_summary=False)


def test_data_with_other_labels_is_refused() -> None:
    data = MNISTDataModule()
    model = MultiLabelClassifier(labels=[*LABELS[:10], "large"], image_shape=SHAPE)
    with pytest.raises(InputError, match=r"model's labels are .*, 9, large, but the data's are .*, 9, ≥5"):
        quiet_trainer().test(model, datamodule=data)


def test_data_with_another_shape_is_refused() -> None:
    model = MultiLabelClassifier(labels=LABELS, image_shape=(1, 32, 32))
    with pytest.raises(InputError, match="model's images are 1x32x32, but the data's are 1x28x28"):
        quiet_trainer().test(model, datamodule=MNISTDataModule())


def test_lightnings_own_trainer_and_loaders_will_do() -> None:
    data = MNISTDataModule()
    data.setup("fit")
    model = MultiLabelClassifier(labels=LABELS, image_shape=SHAPE)
    trainer = quiet_trainer()
    trainer.fit(model, data.train_dataloader(), data.val_dataloader())
    assert trainer.callback_metrics["val_loss"].isfinite()


def test_training_repeats_itself() -> None:
    def weights() -> list[torch.Tensor]:
        torch.manual_seed(3)
        trainer = Trainer(max_steps=5, logger=False, enable_checkpointing=False, enable_progress_bar=False)
        model = MultiLabelClassifier()
        trainer.fit(model, datamodule=MNISTDataModule(val_size=0))
        return list(model.parameters())

    assert all(torch.equal(first, second) for first, second in zip(weights(), weights(), strict=True))


def test_positives_are_weighed_by_the_training_images(tmp_path: Path) -> None:
    data = MNISTDataModule(eval_batch_size=5000)
    model = MultiLabelClassifier(pos_weight="auto")
    trainer = quiet_trainer()
    trainer.fit(model, datamodule=data)
    assert isinstance(data.train_set, LabelledImages)
    assert isinstance(data.val_set, LabelledImages)
    positives = data.train_set.targets.sum(dim=0)
    weights = (55_000 - positives) / positives
    assert model.positive_weights is not None
    torch.testing.assert_close(model.positive_weights, weights)
    with torch.no_grad():
        expected = F.binary_cross_entropy_with_logits(
            model(data.val_set.images), data.val_set.targets, pos_weight=weights
        )
    assert trainer.callback_metrics["val_loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = MultiLabelClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert again.positive_weights is not None
    assert torch.equal(again.positive_weights, model.positive_weights)


def test_positives_cannot_be_counted_without_a_training_set() -> None:
    data = MNISTDataModule()
    data.setup("fit")
    model = MultiLabelClassifier(labels=LABELS, image_shape=SHAPE, pos_weight="auto")
    with pytest.raises(InputError, match="pos_weight auto needs a data module with a train_set"):
        quiet_trainer().fit(model, data.train_dataloader())


class FirstStep(Callback):
    """Keeps the first batch of a training and its loss."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batch, self.loss = batch, outputs["loss"].item()


def test_training_minimises_the_loss_that_was_asked_for() -> None:
    weights = [float(i + 1) for i in range(11)]
    options: dict[str, Any] = {"loss": "asymmetric", "gamma_pos": 1.0, "gamma_neg": 2.0, "clip": 0.1}
    model = MultiLabelClassifier(
        labels=LABELS, image_shape=SHAPE, pos_weight=weights, label_smoothing=0.2, calibrate=True, **options
    )
    before = copy.deepcopy(model)
    step = FirstStep()
    trainer = Trainer(fast_dev_run=True, logger=False, enable_progress_bar=False, callbacks=[step])
    trainer.fit(model, datamodule=MNISTDataModule())
    images, targets = step.batch
    expected = asymmetric_loss(before(images), targets * 0.8 + 0.1, 1.0, 2.0, 0.1, torch.tensor(weights))
    assert step.loss == pytest.approx(expected.item(), rel=1e-5)


def test_an_interrupted_evaluation_leaves_nothing_behind() -> None:
    data = MNISTDataModule()
    data.setup("test")
    model = MultiLabelClassifier(labels=LABELS, image_shape=SHAPE)
    assert data.test_set is not None
    model.validation_step((data.test_set.images[:100], data.test_set.targets[:100]), 0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(limit_test_batches=1, enable_checkpointing=False, **quiet)  # type: ignore[arg-type]
    for _ in range(2):
        trainer.test(model, datamodule=data, verbose=False)
        assert model.evaluation is not None
        assert len(model.evaluation.logits) == data.eval_batch_size


def test_loaders_without_labels_need_a_model_that_has_them() -> None:
    data = MNISTDataModule()
    data.setup("fit")
    with pytest.raises(InputError, match="needs labels and image_shape"):
        quiet_trainer().fit(MultiLabelClassifier(), data.train_dataloader())
