"""How Lightning reads and writes checkpoints."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from multilabel_pl.checkpoint import read_checkpoint, write_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Reads checkpoints without trust, and writes them as a whole or not at all.

    Lightning's own way writes to the system's temporary folder and copies from there if that is on another disk.

    Attributes:
        opened: Contents by path that have been read already: each is handed out once instead of reading its file.
    """

    def __init__(self) -> None:
        self.opened: dict[str, dict[str, Any]] = {}

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Reads a checkpoint; see `read_checkpoint`."""
        content = self.opened.pop(str(path), None)
        return read_checkpoint(Path(path)) if content is None else content

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint, replacing an earlier one."""
        write_checkpoint(checkpoint, Path(path))
