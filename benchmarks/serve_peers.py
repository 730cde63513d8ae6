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
    from benchmarks.litserve_peer import run

    run(checkpoint, port)


PEERS = {"fastapi": fastapi, "litserve": litserve}

if __name__ == "__main__":
    _, name, checkpoint, port = sys.argv
    torch.set_grad_enabled(False)
    PEERS[name](checkpoint, int(port))
