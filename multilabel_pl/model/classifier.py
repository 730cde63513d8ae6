"""The LightningModule."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from multilabel_pl.errors import InputError
from multilabel_pl.images.inputs import ImageInput, batches_of
from multilabel_pl.messages import note
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation, gather
from multilabel_pl.model.head import HeadName, check_head, get_head
from multilabel_pl.model.loading import check_weights, load_model
from multilabel_pl.model.loss import Loss, LossName
from multilabel_pl.model.network import build_network
from multilabel_pl.model.optimizer import LRSchedule, Optimization
from multilabel_pl.model.prediction import PredictedBatch, Prediction, name_predictions
from multilabel_pl.model.rules import Threshold, check_threshold
from multilabel_pl.model.torch_optimizers import OptimizerOptions
from multilabel_pl.task import Task


class MultiLabelClassifier(LightningModule):
    """Gives images any number of labels.

    Args:
        head: `sigmoid` gives every label a probability of its own; `softmax`, the tutorial's wrong way, one to share.
        network: `conv_pool_dense`, the tutorial's; `conv_pool_dense_keras`, what Keras made of it; `conv_stack`, a
            small one that finds a label wherever it is; or the name of a timm model, such as `resnet18`. From Python
            also a module of your own: uint8 images (B, C, H, W) to scores (B, L).
        pretrained: Whether a timm model starts from the weights that timm offers, which are downloaded.
        lr: Learning rate of the optimizer; with `one_cycle`, the highest.
        lr_schedule: `constant`, or `one_cycle`: up for the first 30 % of the steps, then down to nearly 0.
        weight_decay: Weight decay of the optimizer, which is decoupled in AdamW.
        optimizer: `AdamW` with Keras's epsilon, 1e-7; or `Adam`, `NAdam`, `RAdam`, `RMSprop` or `SGD` of torch.optim.
        optimizer_options: Other options of the optimizer, by torch's names, such as `momentum`.
        loss: `bce`, binary cross-entropy, or `asymmetric`, which weighs easy decisions less (Ridnik et al., 2021).
        pos_weight: Factors of the loss of positives: a list, one for each label, or `auto`, its negatives per positive.
        gamma_pos: For the asymmetric loss: how little easy positives count, from 0.
        gamma_neg: For the asymmetric loss: how little easy negatives count, from 0.
        clip: For the asymmetric loss: the probability up to which a negative counts nothing, below 1.
        label_smoothing: The share of every target that becomes 1/2 in training.
        compile: Whether to train with torch.compile, which takes a while to start and pays on GPUs.
        threshold: The probability from which a label is a tag: a number, a list with one for each label, or a rule by
            which they are learned on the validation images of every epoch: `f1`, `f1_exact`, `micro_f1`, `exact_match`,
            `precision>=P` or `recall>=R`; the last two hold on other images with a confidence C as `recall>=R@C`.
        calibrate: Whether to also fit a slope and an offset for each label's logits on these images.
        task: Labels and form of the images; those of the data if not given.

    Raises:
        InputError: If a value is out of range, or no network can be built for the task.
    """

    network: nn.Module  # this and the next from `bind` on
    decision: Decision
    saved_epoch: int | None = None  # of the checkpoint that a Trainer has loaded

    def __init__(
        self,
        head: HeadName = "sigmoid",
        network: str | nn.Module = "conv_pool_dense",
        pretrained: bool = False,
        lr: float = 1e-3,
        lr_schedule: LRSchedule = "constant",
        weight_decay: float = 0.0,
        optimizer: str = "AdamW",
        optimizer_options: OptimizerOptions | None = None,
        loss: LossName = "bce",
        pos_weight: list[float] | Literal["auto"] | None = None,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        label_smoothing: float = 0.0,
        compile: bool = False,  # noqa: A002, the name that users know
        threshold: Threshold = "f1",
        calibrate: bool = False,
        task: Task | None = None,
    ) -> None:
        super().__init__()
        check_threshold(threshold)
        self.save_hyperparameters(ignore=["task"] if isinstance(network, str) else ["task", "network"])
        self.head = get_head(head)
        self.loss = Loss(loss, pos_weight, gamma_pos, gamma_neg, clip, label_smoothing)
        self.optimization = Optimization(lr, lr_schedule, weight_decay, optimizer, optimizer_options)
        if not isinstance(network, str):
            self.network = network
        self.task: Task | None = None  # until `bind`
        self.outputs: list[tuple[Tensor, Tensor]] = []  # uncalibrated logits and targets of an evaluation's batches
        self.evaluation: Evaluation | None = None
        if task is not None:
            self.bind(task)

    def bind(self, task: Task) -> None:
        """Builds the network and the decision for a task; checks that it is the same if there is one already.

        Raises:
            InputError: If the model has other labels or another image shape, or no network can be built for the task.
        """
        if self.task is not None:
            self.task.check_matches(task)
            return
        options, num_labels = self.hparams, len(task.labels)
        check_head(options["head"], num_labels)
        if "network" in options:
            self.network = build_network(options["network"], task.image_shape, num_labels, options["pretrained"])
        self.decision = Decision(task.labels, options["threshold"], options["calibrate"])
        self.loss.bind(num_labels)
        self.task = task
        options["task"] = task.to_dict()

    @classmethod
    def load_from_checkpoint(  # type: ignore[override] # of Lightning's arguments, these make sense here
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", **options: Any
    ) -> "MultiLabelClassifier":
        """Loads a model in evaluation mode, without running any code that the file may contain.

        Args:
            checkpoint_path: A checkpoint of this package.
            map_location: Device of the model.
            **options: Constructor arguments that override the checkpoint's, such as the `network` of a model that was
                built with a module of your own. A threshold rule or `calibrate` takes effect at the next fit.

        Raises:
            InputError: If the file is missing, damaged, or not a checkpoint of this package's model.
        """
        model = load_model(cls, Path(checkpoint_path), options)
        model.decision.configure(options.get("threshold"))
        return model.to(map_location).eval()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks the weights that a Trainer is about to restore, and notes the epoch after which they were saved."""
        self.saved_epoch = checkpoint["epoch"] + 1 if "epoch" in checkpoint else None
        check_weights(checkpoint, self, self.trainer.ckpt_path)
        self.decision.restored(checkpoint["hyper_parameters"]["threshold"])

    def setup(self, stage: str) -> None:
        """Takes the task from the data module, if that has one."""
        task: Task | None = getattr(getattr(self.trainer, "datamodule", None), "task", None) or self.task
        if task is None:
            raise InputError("the model has no labels yet: give it a task, or a data module to take it from")
        self.bind(task)
        if stage == "fit" and not self.training:
            self.train()  # as a loaded model is in evaluation mode
        if stage == "fit" and self.hparams["compile"]:
            self.network.compile()  # in place, so that the weights keep their names in checkpoints

    def forward(self, images: Tensor) -> Tensor:
        """Returns calibrated logits float32 (B, L) of images uint8 (B, C, H, W); their sigmoid is the probabilities."""
        logits: Tensor = self.decision(self._uncalibrated(images))
        return logits

    def tag(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns probabilities float32 (B, L) and tags bool (B, L) of images uint8 (B, C, H, W)."""
        probabilities = self(images).sigmoid()
        return probabilities, self.decision.tags(probabilities)

    def _uncalibrated(self, images: Tensor) -> Tensor:
        return self.head(self.network(images).float())  # float32 even where the network runs in a lower precision

    def on_train_start(self) -> None:
        """Counts positives for `pos_weight auto`, and looks for unknown labels."""
        self.loss.inspect(self.trainer.train_dataloader)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns the loss of a batch of images (B, C, H, W) and targets (B, L): 1, 0, or NaN where unknown."""
        images, targets = batch
        loss: Tensor = self.loss(self._uncalibrated(images), targets)
        # Logging every step would cost a tenth of a small network's. The last one of an epoch is shown with it.
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined] # set, but undeclared
        if every and ((self.global_step + 1) % every == 0 or self.trainer.is_last_batch):
            self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects uncalibrated logits and targets."""
        images, targets = batch
        self.outputs.append((self._uncalibrated(images), targets.float()))

    def on_validation_epoch_start(self) -> None:
        """Drops the outputs of an evaluation that was interrupted."""
        self.outputs = []

    def on_validation_epoch_end(self) -> None:
        """Learns calibration and thresholds in a fit, and logs the metrics."""
        logits, targets = gather(self.outputs, self.trainer, self.trainer.val_dataloaders)
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.decision.fit(logits, targets)
        self._log_metrics("val", self.evaluate(logits, targets))

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        """Logs the metrics."""
        self._log_metrics("test", self.evaluate(*gather(self.outputs, self.trainer, self.trainer.test_dataloaders)))

    def evaluate(self, logits: Tensor, targets: Tensor) -> Evaluation:
        """Evaluates uncalibrated logits (N, L) against targets (N, L)."""
        self.evaluation = Evaluation(self.decision, logits, targets, self.loss.of_known(self.decision(logits), targets))
        return self.evaluation

    def _log_metrics(self, stage: str, evaluation: Evaluation) -> None:
        metrics = {f"{stage}_{name}": value for name, value in evaluation.metrics.items()}
        self.log(f"{stage}_loss", metrics.pop(f"{stage}_loss"), prog_bar=True)
        self.log_dict(metrics)

    def on_train_end(self) -> None:
        """Reports what could not be learned from the validation images."""
        for text in self.decision.notes:
            note(text)

    def predict_step(self, batch: tuple[Tensor, Any], batch_idx: int, dataloader_idx: int = 0) -> PredictedBatch:
        """Predicts a batch of images (B, C, H, W) and passes on what comes with them, such as targets."""
        images, metadata = batch
        return PredictedBatch(*self.tag(images), metadata)

    @torch.inference_mode()
    def predict_images(self, images: ImageInput | Iterable[ImageInput]) -> list[Prediction]:
        """Returns a prediction for each image, made in evaluation mode, in which the model is left.

        Args:
            images: One or several paths, Pillow images, tensors or arrays, as `images.inputs.batches_of` takes them.

        Raises:
            InputError: As from `batches_of`, or if the model has no task.
        """
        if self.task is None:
            raise InputError("the model has no labels yet: fit it, or load it from a checkpoint")
        self.eval()
        tagged = (self.tag(batch.to(self.device)) for batch in batches_of(images, self.task))
        return [prediction for batch in tagged for prediction in name_predictions(*batch, self.task.labels)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns the optimizer, and the schedule of its learning rate if it has one."""
        return self.optimization.configure(self.parameters(), self.trainer)
