"""What is seen of a run: a line for each epoch, bars on a terminal, and nothing that doesn't apply."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from multilabel_pl.cli.main import main
from multilabel_pl.training.checkpointing import SHOWN
from multilabel_pl.training.progress import HEADER, MAX_WIDTH
from tests.cli.test_main import read_rows
from tests.conftest import BRIEF, ROOT, in_a_process, small, started

NOISE = re.compile("Seed set|available|Tip|v_num|FLOPs|estimate|weights_only|stopped:|Restor|Warning")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
SCRIPT = """
import multilabel_pl

data = multilabel_pl.MNISTDataModule({folder!r}, val_size=100)
trainer = multilabel_pl.Trainer(max_epochs=1, limit_train_batches=3, logger=False, enable_checkpointing=False)
trainer.fit(multilabel_pl.MultiLabelClassifier(), datamodule=data)
"""


def test_each_epoch_leaves_a_line(small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *BRIEF, *small(small_set), "--trainer.max_epochs", "2"])
    lines = capsys.readouterr().out.splitlines()
    epochs = lines[lines.index(HEADER) + 1 :][:2]
    rows = [row for row in read_rows("runs/version_0/metrics.csv") if row["val_loss"]]
    for number, (line, row) in enumerate(zip(epochs, rows, strict=True), start=1):
        name, _, _, loss, *values = line.split()
        assert name == f"{number}/2"
        assert 0 < float(loss) < 1  # of the last step, as the epoch has fewer than are logged
        assert values == [f"{float(row[name]):.4f}" for name in SHOWN]
    assert max(map(len, [HEADER, *epochs])) <= MAX_WIDTH


def test_an_epoch_without_validation_has_no_values(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--trainer.max_epochs", "2", "--trainer.check_val_every_n_epoch", "2"]
    main(["fit", *BRIEF, *small(small_set), *words])
    lines = capsys.readouterr().out.splitlines()
    first, second = lines[lines.index(HEADER) + 1 :][:2]
    assert first.split()[-3:] == ["–"] * 3
    assert "–" not in second


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["command", "Python"])
def test_nothing_is_said_that_does_not_apply(launcher: str, small_set: str, workplace: Path) -> None:
    if launcher == "command":
        done = in_a_process(["fit", *BRIEF, *small(small_set)])
    else:
        command = [sys.executable, "-c", SCRIPT.format(folder=small_set)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0
    assert NOISE.search(done.stdout + done.stderr) is None
    assert HEADER in done.stdout
    assert [line for line in done.stderr.splitlines() if not line.startswith("note: ")] == []


@pytest.mark.slow
def test_bars_fit_the_terminal_and_ctrl_c_leaves_a_line(small_set: str, workplace: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = started(["fit", *small(small_set), "--trainer.max_epochs", "1000"], stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, stopped = "", False
    while chunk := _read(ours):
        seen += chunk
        if "3/1000 |" in seen and not stopped:
            process.send_signal(signal.SIGINT)
            stopped = True
    assert process.wait() == 128 + signal.SIGINT
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[A", "", seen))
    bars = [line for line in lines if "|" in line and "/1000" in line]
    assert any(all(name in line for name in SHOWN) for line in bars)
    assert max(map(len, bars)) <= MAX_WIDTH
    assert any(line.startswith("note: stopped after step ") for line in lines)


def _read(descriptor: int) -> str:
    """Returns what a terminal shows next; nothing at its end, which Linux reports as an error."""
    try:
        return os.read(descriptor, 4096).decode(errors="replace")
    except OSError:
        return ""
