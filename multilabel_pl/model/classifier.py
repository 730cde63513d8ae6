"""The LightningModule: a network and a head, with its labels and thresholds."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.errors import InputError, check_choice
from multilabel_pl.images.decoding import WHITE
from multilabel_pl.images.inputs import Picture, batches_of
from multilabel_pl.images.preprocessing import ImageForm, Preprocessing, check_background
from multilabel_pl.messages import note
from multilabel_pl.model.decision import learn_decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.head import HEADS, HeadName
from multilabel_pl.model.loss import Loss, LossName, balancing_weights, smooth
from multilabel_pl.model.loss_watch import LossWatch
from multilabel_pl.model.network import ConvDataFormat, build_network
from multilabel_pl.model.optimizer import LRSchedule, Optimization
from multilabel_pl.model.prediction import Prediction, name_predictions
from multilabel_pl.model.thresholds import FALLBACK, Rule, fixed_thresholds
from multilabel_pl.model.timm_network import CONV_POOL_DENSE

IMAGE_DIMENSIONS = 3
PREDICT_BATCH_SIZE = 250


class PredictedBatch(NamedTuple):
    """What `predict_step` returns: probabilities float32 (B, L), tags bool (B, L), and what came with the images."""

    probabilities: Tensor
    tags: Tensor
    known: Any


class MultiLabelClassifier(LightningModule):
    """Tags images with any number of labels.

    Args:
        head: `sigmoid` gives every label a probability of its own; `softmax`, the tutorial's wrong method, makes the
            labels share one unit of probability.
        network: `conv_pool_dense`, the tutorial's; `conv_stack`, a small one that finds a label wherever it is; or the
            name of one of timm's, such as `resnet18` (needs timm).
        pretrained: Whether one of timm's begins with the weights that its authors offer, which are downloaded.
        conv_data_format: Of `conv_pool_dense`: `channels_first` reads an image as what it is; `channels_last` repeats
            what Keras made of the tutorial's array, a convolution over the rows with the columns as channels.
        lr: Learning rate of Adam; with `one_cycle`, the highest.
        lr_schedule: `constant`, or `one_cycle`: up for the first third of the training, then down to nothing.
        weight_decay: Decoupled weight decay of Adam (AdamW).
        loss: `bce`, binary cross-entropy, or `asymmetric`, which cares less for decisions that are easy, above all for
            easy negatives (Ridnik et al., 2021).
        pos_weight: By what the loss of positives is multiplied: a list with a number for each label, or `auto`, a
            label's negatives per positive among the training images.
        gamma_pos: Of the asymmetric loss: how little easy positives count, from 0.
        gamma_neg: Of the asymmetric loss: how little easy negatives count, from 0.
        clip: Of the asymmetric loss: the probability up to which a negative counts nothing, below 1.
        label_smoothing: The share of every target that becomes 1/2 in training.
        compile: Whether to train with torch.compile, which takes a while to start and pays on GPUs.
        threshold: The probability from which a label is a tag: one number for all labels, a list with one for each, or
            a rule by which each label's is learned on the validation images at the end of every epoch: `f1` (the
            highest F1), `precision>=P` (the highest recall with that precision) or `recall>=R` (the highest precision
            with that recall).
        calibrate: Whether to fit a temperature for each label on the validation images at the end of every epoch, which
            brings its probabilities nearer to the share of positives (temperature scaling).
        labels: Names of the labels; taken from the data if not given.
        image_shape: Channels, height and width of the images; taken from the data if not given.
        preprocessing: How pictures of any size are brought to the form of the training images when they are predicted:
            `mnist` finds the digit on a page, `resize` takes the whole picture; taken from the data if not given.
        background: The colour laid behind the transparent pixels of pictures; taken from the data if not given.

    Raises:
        InputError: If a value is out of range, or (in `setup`) if the data's labels or image shape are not the model's.
    """

    def __init__(
        self,
        head: HeadName = "sigmoid",
        network: str = CONV_POOL_DENSE,
        pretrained: bool = False,
        conv_data_format: ConvDataFormat = "channels_first",
        lr: float = 1e-3,
        lr_schedule: LRSchedule = "constant",
        weight_decay: float = 0.0,
        loss: LossName = "bce",
        pos_weight: list[float] | Literal["auto"] | None = None,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        label_smoothing: float = 0.0,
        compile: bool = False,  # noqa: A002, the name that users know
        threshold: float | list[float] | str = "f1",
        calibrate: bool = False,
        labels: list[str] | None = None,
        image_shape: Sequence[int] | None = None,
        preprocessing: Preprocessing | None = None,
        background: str | None = None,
    ) -> None:
        super().__init__()
        check_choice("head", head, get_args(HeadName))
        check_choice("conv_data_format", conv_data_format, get_args(ConvDataFormat))
        if isinstance(pos_weight, str):
            check_choice("pos_weight", pos_weight, ("auto", "a list of numbers"))
        if preprocessing is not None:
            check_choice("preprocessing", preprocessing, get_args(Preprocessing))
        if background is not None:
            check_background(background)
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.save_hyperparameters()
        self.head = HEADS[head]
        self.optimization = Optimization(lr, lr_schedule, weight_decay)
        self.loss = Loss(loss, gamma_pos, gamma_neg, clip)
        self.pos_weight = pos_weight
        self.label_smoothing = label_smoothing
        if isinstance(threshold, str):
            Rule.parse(threshold)  # a mistake in it should show before any work is done
        self.threshold = threshold
        self.calibrate = calibrate
        self.notes: list[str] = []  # on what could not be learned
        self.relearn = False  # whether to set temperatures and thresholds when validating, too
        self.labels = labels
        self.image_shape = image_shape
        self.preprocessing = preprocessing
        self.background = background
        self.watch = LossWatch()
        self.outputs: list[tuple[Tensor, Tensor]] = []  # logits and targets of an evaluation's batches
        self.evaluation: Evaluation | None = None  # the last one
        if labels is not None and image_shape is not None:
            self.adopt(labels, image_shape)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override] # of Lightning's arguments, these make sense here
        cls, checkpoint_path: str | Path, map_location: Any = None, **kwargs: Any
    ) -> "MultiLabelClassifier":
        """Loads a model, without running any code that the file may contain.

        Args:
            checkpoint_path: A checkpoint of this package.
            map_location: Where its tensors go, such as `cuda`; where they were if not given.
            **kwargs: As in Lightning's, such as options that the model shall have instead of its own. A `threshold`
                that is a rule, and `calibrate`, have to wait for the next training.

        Raises:
            InputError: If the file is missing, damaged, or not a checkpoint of this package's model.
        """
        path = Path(checkpoint_path)
        cls.check_checkpoint(read_checkpoint(path), path)
        model = super().load_from_checkpoint(path, map_location, **{**kwargs, "weights_only": True})
        if "threshold" in kwargs and not isinstance(model.threshold, str):
            model.thresholds.copy_(fixed_thresholds(model.threshold, len(model.thresholds)))
        return model

    @classmethod
    def check_checkpoint(cls, checkpoint: dict[str, Any], path: Path) -> None:
        """Refuses the content of a checkpoint whose hyperparameters or weights are not those of this model.

        Raises:
            InputError: If no model can be built from the hyperparameters, or it has other weights.
        """
        try:
            with torch.device("meta"):  # shapes without memory
                expected = cls(**checkpoint["hyper_parameters"]).state_dict()
        except (TypeError, InputError) as error:
            raise InputError(f"{path} is another model's checkpoint: {error}") from error
        found = {name: value.shape for name, value in checkpoint["state_dict"].items()}
        if found != {name: value.shape for name, value in expected.items()}:
            raise InputError(f"{path} is another model's checkpoint: its weights have other names or shapes")

    def setup(self, stage: str) -> None:
        """Takes labels and image shape from the trainer's data module, if there is one."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.adopt_data(data)
        elif not self._is_built:
            raise InputError("a model needs labels and image_shape, or a data module to take them from")
        if self.pos_weight == "auto" and stage == "fit":
            self._weigh(getattr(getattr(data, "train_set", None), "targets", None))
        if self.hparams["compile"] and stage == "fit":
            self.network.compile()  # in place, so that the weights keep their names in checkpoints

    def adopt_data(self, data: Any) -> None:
        """Adopts what a data module says of its labels and images; see `adopt`."""
        form = (getattr(data, name, None) for name in ("preprocessing", "background"))
        self.adopt(data.labels, data.image_shape, *form)

    def adopt(
        self,
        labels: Sequence[str],
        image_shape: Sequence[int],
        preprocessing: Preprocessing | None = None,
        background: str | None = None,
    ) -> None:
        """Builds the network for these labels and images; a model that was made for other ones refuses them.

        Args:
            labels: Names of the labels.
            image_shape: Channels, height and width.
            preprocessing: What brings other pictures to the form of these images, if the model doesn't know yet.
            background: What is laid behind their transparent pixels, if the model doesn't know yet.

        Raises:
            InputError: If the model has other labels or another shape, or can't be built for these.
        """
        if self.labels is not None and list(self.labels) != list(labels):
            raise InputError(f"the model's labels are {_listed(self.labels)}, but the data's are {_listed(labels)}")
        if self.image_shape is not None and list(self.image_shape) != list(image_shape):
            raise InputError(
                f"the model's images are {_size(self.image_shape)}, but the data's are {_size(image_shape)}"
            )
        if not self._is_built:
            self._build(list(labels), list(image_shape))
        self.preprocessing = self.preprocessing or preprocessing
        self.background = self.background or background
        self.hparams.update(preprocessing=self.preprocessing, background=self.background)

    @property
    def form(self) -> ImageForm:
        """The form of the model's images.

        Raises:
            InputError: If the model doesn't know it yet.
        """
        if not self._is_built or self.image_shape is None:
            raise InputError("the model has no labels yet: fit it, or load it from a checkpoint")
        channels, height, width = self.image_shape
        return ImageForm((channels, height, width), self.preprocessing or "resize", self.background or WHITE)

    @property
    def _is_built(self) -> bool:
        return hasattr(self, "network")

    def _build(self, labels: list[str], image_shape: list[int]) -> None:
        """Makes the network and the thresholds, and records what they are for."""
        if len(image_shape) != IMAGE_DIMENSIONS or min(image_shape) < 1:
            raise InputError(f"image_shape must be channels, height and width, got {_size(image_shape)}")
        if not labels:
            raise InputError("a model needs at least one label, got none")
        if repeated := [label for label, count in Counter(labels).items() if count > 1]:
            raise InputError(f"labels must differ, got {repeated[0]} twice")
        if self.hparams["head"] == "softmax" and len(labels) < 2:
            raise InputError(f"the softmax head needs at least 2 labels, got {len(labels)}: use --model.head sigmoid")
        self.labels, self.image_shape = labels, image_shape
        self.hparams.update(labels=labels, image_shape=image_shape)
        channels, height, width = image_shape
        options = self.hparams
        self.network = build_network(
            options["network"],
            (channels, height, width),
            len(labels),
            options["conv_data_format"],
            options["pretrained"],
        )
        options["pretrained"] = False  # a checkpoint has weights of its own, for which nothing is to be downloaded
        self.positive_weights: Tensor | None
        self.register_buffer("positive_weights", None, persistent=False)
        if isinstance(self.pos_weight, Sequence) and self.pos_weight != "auto":
            self.positive_weights = _positive_weights(self.pos_weight, len(labels))
        self.temperatures: Tensor
        self.register_buffer("temperatures", torch.ones(len(labels)))
        self.thresholds: Tensor
        fixed = FALLBACK if isinstance(self.threshold, str) else self.threshold
        self.register_buffer("thresholds", fixed_thresholds(fixed, len(labels)))

    def _weigh(self, targets: Tensor | None) -> None:
        """Balances positives and negatives, as counted in the targets (N, L) of the training images."""
        if targets is None:
            raise InputError("pos_weight auto needs a data module with a train_set: give a list of weights")
        self.pos_weight = balancing_weights(targets.sum(dim=0), len(targets)).tolist()
        self.hparams["pos_weight"] = self.pos_weight
        self.positive_weights = torch.tensor(self.pos_weight, device=self.device)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the labels' logits.

        Args:
            images: uint8 (B, C, H, W).

        Returns:
            Logits, float32 (B, L); their sigmoid is the labels' probabilities.
        """
        return self._uncalibrated(images) / self.temperatures

    def tag(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the labels' probabilities, and which of them reach their thresholds.

        Args:
            images: uint8 (B, C, H, W).

        Returns:
            Probabilities float32 (B, L), and tags bool (B, L).
        """
        probabilities = self(images).sigmoid()
        return probabilities, probabilities >= self.thresholds

    def _uncalibrated(self, images: Tensor) -> Tensor:
        return self.head(self.network(images).float())  # float32 even where the network runs in a lower precision

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns the loss of a batch of images (B, C, H, W) and targets (B, L)."""
        images, targets = batch
        targets = smooth(targets, self.label_smoothing) if self.label_smoothing > 0 else targets
        loss = self.loss(self._uncalibrated(images), targets, self.positive_weights)
        self.watch.add(self.global_step, loss)
        # Lightning writes every so many steps; logging the others would cost a tenth of a small network's step.
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined] # set, but undeclared
        if every and (self.global_step + 1) % every == 0:
            self.watch.check()
            self.log("train_loss", loss, prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Looks at the last losses."""
        self.watch.check()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps a training that is lost from replacing its last sound checkpoint."""
        self.watch.check()

    def on_validation_epoch_start(self) -> None:
        """Forgets an earlier evaluation, even one that was interrupted."""
        self.watch.check()
        self.outputs = []

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects the logits of a batch, before calibration."""
        images, targets = batch
        self.outputs.append((self._uncalibrated(images), targets))

    def on_validation_epoch_end(self) -> None:
        """Sets temperatures and thresholds, where they are to be learned from these images, and logs the metrics."""
        logits, targets = self._collected(self.trainer.val_dataloaders)
        fitting = self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking
        if fitting or self.relearn:
            decision = learn_decision(logits, targets, self.labels or [], self.threshold, self.calibrate)
            self.temperatures.copy_(decision.temperatures)
            self.thresholds.copy_(decision.thresholds)
            self.notes = decision.notes
        self._evaluate("val", logits, targets)

    def on_train_start(self) -> None:
        """Notes that nothing will be learned, where there is nothing to learn from."""
        self.watch.forget()
        if isinstance(self.threshold, str) and not any(self.trainer.num_val_batches):
            self.notes = [f"{self.threshold} sets no threshold without validation images: all stay as they are"]

    def on_fit_end(self) -> None:
        """Says what could not be learned from the validation images."""
        for text in self.notes:
            note(text)

    def on_test_epoch_start(self) -> None:
        """Forgets an earlier evaluation, even one that was interrupted."""
        self.outputs = []

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects the logits of a batch."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Logs the metrics of all test images."""
        self._evaluate("test", *self._collected(self.trainer.test_dataloaders))

    def _collected(self, loader: Any) -> tuple[Tensor, Tensor]:
        """Returns the logits (N, L) and the targets (N, L) of all processes, in the order of the images."""
        logits, targets = (torch.cat(parts) for parts in zip(*self.outputs, strict=True))
        if self.trainer.world_size == 1:
            return logits, targets
        gathered = map(self.trainer.strategy.all_gather, (logits, targets))  # (W, M, L) of W processes
        # Each has every W-th image, and some an early one besides, so that all have as many.
        logits, targets = (parts.transpose(0, 1).flatten(0, 1)[: len(loader.dataset)] for parts in gathered)
        return logits, targets

    def _evaluate(self, stage: str, logits: Tensor, targets: Tensor) -> None:
        """Logs the metrics that follow from uncalibrated logits (N, L) and targets (N, L)."""
        uncalibrated = logits if self.calibrate else None
        logits = logits / self.temperatures
        loss = self.loss(logits, targets, self.positive_weights)
        self.evaluation = Evaluation(self.labels or [], self.thresholds, logits, targets, loss, uncalibrated)
        metrics = {f"{stage}_{name}": value for name, value in self.evaluation.metrics.items()}
        self.log(f"{stage}_loss", metrics.pop(f"{stage}_loss"), prog_bar=True)
        self.log_dict(metrics)

    def predict_step(self, batch: tuple[Tensor, Any], batch_idx: int) -> PredictedBatch:
        """Predicts a batch of images (B, C, H, W); what comes with them, such as targets, is passed on."""
        images, known = batch
        return PredictedBatch(*self.tag(images), known)

    @torch.inference_mode()
    def predict_images(self, pictures: Picture | Iterable[Picture]) -> list[Prediction]:
        """Tags pictures, in evaluation mode, in which the model is left.

        Args:
            pictures: One or several: the paths of image files; Pillow's images; tensors uint8 (H, W) or (C, H, W) or
                arrays uint8 (H, W) or (H, W, C), with C of 1 or 3; or a tensor or an array that stacks several along a
                first dimension. Those that have the shape of the model's images are taken as they are, the others are
                brought to it as `preprocessing` says.

        Returns:
            One prediction for each picture.

        Raises:
            InputError: If a file can't be read, an array is not a picture, or a picture shows nothing to predict.
        """
        predictions = []
        self.eval()
        for images in batches_of(pictures, self.form, PREDICT_BATCH_SIZE):
            predictions += name_predictions(*self.tag(images.to(self.device)), self.labels or [])
        return predictions

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns the optimizer, and the schedule of its learning rate if it has one."""
        optimizer = self.optimization.optimizer(self.parameters())
        if self.optimization.schedule == "constant":
            return optimizer
        scheduler = self.optimization.scheduler(optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _positive_weights(weights: Sequence[float], num_labels: int) -> Tensor:
    if len(weights) != num_labels or not all(0 < weight < math.inf for weight in weights):
        raise InputError(f"pos_weight must be auto, or {num_labels} positive numbers, got {weights}")
    return torch.tensor(weights)


def _listed(labels: Sequence[str] | None) -> str:
    return ", ".join(labels or [])


def _size(image_shape: Sequence[int] | None) -> str:
    return "x".join(map(str, image_shape or []))
