import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from multilabel_pl import MultiLabelClassifier
from multilabel_pl.cli.main import main
from multilabel_pl.errors import InputError
from tests.conftest import BRIEF, QUIET


class Payload:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch struck",)


@pytest.mark.parametrize("place", ["", "hyper_parameters", "state_dict", "callbacks"])
def test_a_payload_is_refused_and_does_not_run(
    place: str, checkpoint: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    (content[place] if place else content)["payload"] = Payload()
    torch.save(content, "model.ckpt")
    torch.load("model.ckpt", weights_only=False)
    assert Path("struck").exists()  # it is a real one
    Path("struck").unlink()
    for command in ("fit", "validate", "test", "predict"):
        with pytest.raises(SystemExit) as caught:
            main([command, *QUIET, "--ckpt_path", "model.ckpt"])
        assert caught.value.code == 2
        assert "model.ckpt is damaged, or holds more than values and tensors" in capsys.readouterr().err
    with pytest.raises(InputError, match="holds more than values and tensors"):
        MultiLabelClassifier.load_from_checkpoint("model.ckpt", weights_only=False)
    assert not Path("struck").exists()


def test_nothing_is_imported_that_a_checkpoint_names(
    checkpoint: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(workplace)
    Path("trap.py").write_text("from pathlib import Path\nPath('struck').touch()\nData = print\n")
    content = torch.load(checkpoint, weights_only=True)
    content["datamodule_hyper_parameters"]["class_path"] = "trap.Data"
    torch.save(content, "data.ckpt")
    main(["test", *QUIET, "--ckpt_path", "data.ckpt", "--figures", "false"])
    assert "note: data.ckpt was trained on trap.Data, which only --data may import" in capsys.readouterr().err
    content["hyper_parameters"]["_instantiator"] = "trap.Data"
    torch.save(content, "model.ckpt")
    with pytest.raises(InputError, match=r"asks for the import of trap\.Data"):
        MultiLabelClassifier.load_from_checkpoint("model.ckpt")
    assert not Path("struck").exists()


def test_of_a_damaged_checkpoint_the_one_before_is_named(
    run_folder: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run_folder, "runs/version_0")
    for name in ("last", "newer"):
        Path(f"runs/version_0/{name}.ckpt").write_bytes((run_folder / "last.ckpt").read_bytes()[:100_000])
    with pytest.raises(SystemExit) as caught:
        main(["fit", *QUIET, *BRIEF, "--ckpt_path", "last"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "error: runs/version_0/last.ckpt is damaged or not a checkpoint" in told
    assert told.endswith("; the one before it is runs/version_0/best.ckpt\n")
    Path("text.ckpt").write_text("of no run")
    with pytest.raises(SystemExit):
        main(["test", *QUIET, "--ckpt_path", "text.ckpt"])
    assert capsys.readouterr().err.endswith("text.ckpt is damaged or not a checkpoint; name best, last, or a file\n")


@pytest.mark.parametrize("words", [["--trainer.log_every_n_steps", "2"], ["--trainer.logger", "false"]])
def test_a_lost_training_stops_and_leaves_the_last_sound_checkpoint(
    words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *QUIET, *BRIEF])
    sound = Path("runs/version_0/last.ckpt").read_bytes()
    strike = '[{"class_path": "tests.callbacks.Spoil", "init_args": {"step": 4}}]'
    more = ["--trainer.max_epochs", "3", "--trainer.limit_train_batches", "3", "--trainer.callbacks", strike]
    with pytest.raises(SystemExit) as caught:
        main(["fit", *QUIET, *more, *words, "--ckpt_path", "last"])
    assert caught.value.code == 2
    assert "error: the loss of step 4 was not a finite number: try a lower --model.lr" in capsys.readouterr().err
    assert Path("runs/version_0/last.ckpt").read_bytes() == sound
