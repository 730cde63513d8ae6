"""What `serve` is measured against, as the tutorials of FastAPI and LitServe write it.

`python -m benchmarks.serve_peers NAME CHECKPOINT PORT` serves one of them; one image a request, in a form.
"""

import io
import sys
from typing import Annotated, Any

import torch
from fastapi import FastAPI, File
from PIL import Image

from multilabel_pl import MultiLabelClassifier

BATCH_SECONDS = 0.005  # for which LitServe waits for more images


def answer(prediction: Any) -> dict[str, Any]:
    """Returns what is sent for an image."""
    return {"tags": prediction.tags, "probabilities": prediction.probabilities}


def fastapi(checkpoint: str, port: int) -> None:
    """Plain FastAPI: the model is called for each request, in FastAPI's own pool of threads."""
    import uvicorn

    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    app = FastAPI()

    @app.post("/predict")
    def predict(image: Annotated[bytes, File()]) -> dict[str, Any]:
        [prediction] = model.predict_images(Image.open(io.BytesIO(image)))
        return answer(prediction)

    uvicorn.run(app, port=port, log_level="warning")


def litserve(checkpoint: str, port: int) -> None:
    """LitServe, with its batches."""
    import litserve as ls

    class API(ls.LitAPI):  # type: ignore[misc] # it is not installed for the project
        def setup(self, device: str) -> None:
            self.model = MultiLabelClassifier.load_from_checkpoint(checkpoint)

        def decode_request(self, request: Any) -> Image.Image:
            image: Image.Image = Image.open(request["image"].file)
            image.load()
            return image

        def predict(self, images: list[Image.Image]) -> list[Any]:
            return self.model.predict_images(images)

        def encode_response(self, output: Any) -> dict[str, Any]:
            return answer(output)

    server = ls.LitServer(API(max_batch_size=64, batch_timeout=BATCH_SECONDS), accelerator="cpu")
    server.run(port=port, generate_client_file=False, log_level="warning")


PEERS = {"fastapi": fastapi, "litserve": litserve}

if __name__ == "__main__":
    _, name, checkpoint, port = sys.argv
    torch.set_grad_enabled(False)
    PEERS[name](checkpoint, int(port))
