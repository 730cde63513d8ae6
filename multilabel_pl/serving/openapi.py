"""What the documentation of the HTTP API says of its requests and answers."""

from typing import Any

from pydantic import BaseModel

from multilabel_pl.serving.bodies import FORM, JSON, MAX_IMAGES

DESCRIPTION = f"""Tags for images. `POST /predict` takes an image as its body, a form with several files, or JSON, up to
{MAX_IMAGES} images; the answers are in their order."""


class ImagePrediction(BaseModel):
    """The prediction for an image.

    Attributes:
        tags: The labels whose probability reaches their threshold.
        probabilities: The probability of each label; empty if the image can't be decoded.
        error: Why it can't be, if so.
    """

    tags: list[str]
    probabilities: dict[str, float]
    error: str | None


class Predictions(BaseModel):
    """The predictions for the images of a request, in their order, and the threshold of each label."""

    predictions: list[ImagePrediction]
    thresholds: dict[str, float]


class Problem(BaseModel):
    """Why there is no prediction."""

    detail: str


_FILE = {"type": "string", "format": "binary"}
_PIXELS = {"type": "array", "items": {"type": "array", "items": {}}}
_IMAGES = {"type": "array", "items": {"anyOf": [{"type": "string", "format": "byte"}, _PIXELS]}}
_BODY = {
    "image/*": {"schema": _FILE},
    FORM: {"schema": {"type": "object", "properties": {"images": {"type": "array", "items": _FILE}}}},
    JSON: {"schema": {"type": "object", "properties": {"images": _IMAGES}, "required": ["images"]}},
}
_PROBLEMS = {
    400: "No image could be decoded",
    401: "The token is missing or wrong",
    408: "The body did not arrive in time",
    413: "The body is too large",
    429: "Too much is under way: try again",
}
PREDICT: dict[str, Any] = {  # of FastAPI's route
    "openapi_extra": {"requestBody": {"required": True, "content": _BODY}},
    "responses": {
        200: {"model": Predictions},
        **{status: {"model": Problem, "description": text} for status, text in _PROBLEMS.items()},
    },
}
