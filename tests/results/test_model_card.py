"""The card that `test` writes: Hugging Face reads it, and exported programs carry it."""

import json
from pathlib import Path

import onnxruntime
import pytest
import torch
from huggingface_hub import ModelCard

from multilabel_pl import Task
from multilabel_pl.cli.main import main
from multilabel_pl.digests import file_digest
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.model_card import write_model_card
from multilabel_pl.results.origin import Origin
from tests.conftest import copied_run


def test_hugging_face_reads_the_card_of_a_test(small_run: Path, workplace: Path) -> None:
    run = copied_run(small_run, workplace)
    main(["test", "--figures", "false"])
    metrics = json.loads((run / "test" / "metrics.json").read_text())
    card = ModelCard.load(run / "test" / "MODEL_CARD.md")
    found = {result.metric_type: result for result in card.data.eval_results}
    exact_match = found["exact_match"]
    assert exact_match.metric_value == pytest.approx(metrics["test_exact_match"], abs=1e-6)
    low, high = exact_match.metric_args["interval_95"]
    assert [low, high] == pytest.approx([metrics["test_exact_match_low"], metrics["test_exact_match_high"]], abs=1e-6)
    assert exact_match.dataset_split == "test"
    assert card.data.to_dict()["checkpoint_sha256"] == file_digest(run / "best.ckpt")
    assert "| threshold |" in card.text
    assert "The thresholds are in the checkpoint, learned on validation images. " in card.text
    assert "\n## Limits\n" in card.text


@pytest.mark.slow
def test_a_program_carries_the_card_of_its_own_checkpoint_alone(small_run: Path, workplace: Path) -> None:
    run = copied_run(small_run, workplace)

    def metadata(checkpoint: str) -> dict[str, str]:
        main(["export", checkpoint, "--output", "model.onnx"])
        texts: dict[str, str] = onnxruntime.InferenceSession("model.onnx").get_modelmeta().custom_metadata_map
        return texts

    before = metadata("best")
    assert before["checkpoint_sha256"] == file_digest(run / "best.ckpt")
    assert len(before["data_sha256"]) == 64
    assert "card" not in before
    main(["test", "--figures", "false"])
    after = metadata("best")
    assert after["card"] == (run / "test" / "MODEL_CARD.md").read_text()
    assert json.loads(after["metrics"]) == json.loads((run / "test" / "metrics.json").read_text())
    assert after["data_sha256"] == before["data_sha256"]
    main(["tune", "--threshold", "0.3", "--output", str(run / "other.ckpt"), "--figures", "false"])
    assert "card" not in metadata(str(run / "other.ckpt"))


def test_a_card_names_where_a_model_is_weak(workplace: Path) -> None:
    labels = ["good", "we|ak\n", "<b>rare</b>", "absent"]
    targets = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, torch.nan, 0]]).repeat(20, 1)
    targets[4:, 2] = targets[4:, 2].where(targets[4:, 2].isnan(), 0)
    logits = torch.where(targets == 1, 3.0, -3.0)
    logits[:, 1] *= -1
    evaluation = Evaluation(Decision(labels, 0.5, False), logits, targets, torch.tensor(0.1))
    checkpoint = Path("run", "best.ckpt")
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"weights")
    options = {"head": "softmax", "loss": "bce", "threshold": [0.5], "calibrate": False}
    origin = Origin(Task(labels, (3, 8, 8)), options, checkpoint, "a\nb.csv")
    write_model_card(evaluation, "The report.", origin, Path("card.md"))
    card = ModelCard.load("card.md")
    assert card.data.eval_results[0].dataset_name == "a\nb.csv"
    assert "On a b.csv: The report.\n" in card.text
    assert "The thresholds are in the checkpoint. " in card.text
    _, limits = card.text.split("## Limits\n\n")
    lines = limits.splitlines()
    assert lines[0] == r"- An F1 below 0.5: we\|ak (0)."
    assert lines[1] == r"- Measured on fewer than 30 images that carry the label, so only roughly: \<b>rare\</b> (1)."
    assert lines[2] == "- Not measured, as no test image carries the label: absent (0)."
    assert lines[3] == "- Measured on the 93.8% of decisions that are known."
    assert lines[4].startswith("- The softmax head ")
    assert "network: a module of its own" in card.text
