"""LitServe as its tutorials use it; in a file of its own, as its processes import what they run."""

from typing import Any

import litserve as ls
from fastapi import Request
from PIL import Image

from benchmarks.serve_peers import answer
from multilabel_pl import MultiLabelClassifier

BATCH_SECONDS = 0.005  # for which it waits for more images
MAX_BATCH = 64


class API(ls.LitAPI):  # type: ignore[misc] # it is not installed for the project
    """Tags one image a request."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=BATCH_SECONDS)
        self.checkpoint = checkpoint

    def setup(self, device: str) -> None:
        """Loads the model, in the process that runs it."""
        self.model = MultiLabelClassifier.load_from_checkpoint(self.checkpoint)

    def decode_request(self, request: Request) -> Image.Image:  # a form, once it is here
        """Decodes an image in a form."""
        image: Image.Image = Image.open(request["image"].file)
        image.load()
        return image

    def predict(self, images: list[Image.Image]) -> list[Any]:
        """Tags a batch."""
        return self.model.predict_images(images)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Returns what is sent for an image."""
        return answer(output)


def run(checkpoint: str, port: int) -> None:
    """Serves a checkpoint."""
    ls.LitServer(API(checkpoint), accelerator="cpu").run(port=port, generate_client_file=False, log_level="warning")
