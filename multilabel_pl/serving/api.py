"""The HTTP API: tags for the images of a request."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from numpy.typing import NDArray

from multilabel_pl import __version__
from multilabel_pl.errors import InputError
from multilabel_pl.serving.batching import Batcher
from multilabel_pl.serving.bodies import JSON, Body, Loaded
from multilabel_pl.serving.decoders import Decoders, Images
from multilabel_pl.serving.limits import Admission
from multilabel_pl.serving.openapi import DESCRIPTION, PREDICT
from multilabel_pl.serving.served_model import ServedModel
from multilabel_pl.serving.telemetry import CONTENT_TYPE, Measured, Telemetry

DECODED_AT_ONCE = 8  # bodies that a process takes at a time
DECIMALS = 6  # of a probability, as in tables
OK, BAD, UNAUTHORIZED = 200, 400, 401
PATH = "/predict"


class Answer(NamedTuple):
    """What is sent of an image: JSON, and the problem that it has."""

    content: str
    error: str | None


class Predictor:
    """Tags the images of requests, in batches across requests.

    Args:
        served: The model.
        decoders: Decode the bodies.
        telemetry: Counts and times.
        max_batch: Images that the model tags at once.
    """

    def __init__(self, served: ServedModel, decoders: Decoders, telemetry: Telemetry, max_batch: int) -> None:
        self._served = served
        self._decoders = decoders
        self._telemetry = telemetry
        self._decode = Batcher(self._decode_batch, DECODED_AT_ONCE, decoders.processes)
        self._tag = Batcher(self._tag_batch, max_batch)

    async def __call__(self, body: Body) -> list[Answer]:
        """Returns the answers for the images in a body, in their order.

        Raises:
            InputError: If the body has no images.
        """
        images = await self._decode(body)
        if isinstance(images, Exception):
            raise images
        return list(await asyncio.gather(*map(self._answer, images)))

    async def _answer(self, image: Loaded) -> Answer:
        if image.pixels is None:
            self._telemetry.count_failed()
            return Answer(_as_json({"tags": [], "probabilities": {}, "error": image.problem}), image.problem)
        return await self._tag(image.pixels)

    async def _decode_batch(self, bodies: list[Body]) -> list[Images]:
        with self._telemetry.stage("decode"):
            return await self._decoders(bodies)

    async def _tag_batch(self, images: list[NDArray[np.uint8]]) -> list[Answer]:
        with self._telemetry.stage("model"):
            probabilities, tags = await asyncio.to_thread(self._served.tag, np.stack(images))
        self._telemetry.count_tagged(tags)
        return await asyncio.to_thread(_answers, self._served.task.labels, probabilities, tags)


def _answers(labels: Sequence[str], probabilities: NDArray[np.float32], tags: NDArray[np.bool_]) -> list[Answer]:
    """Writes an answer for each image; with thousands of labels, that takes a while."""
    values = probabilities.astype(float).round(DECIMALS).tolist()
    return [Answer(_named(labels, row, given), None) for row, given in zip(values, tags, strict=True)]


def _named(labels: Sequence[str], probabilities: list[float], tags: NDArray[np.bool_]) -> str:
    given = [labels[index] for index in tags.nonzero()[0].tolist()]
    return _as_json({"tags": given, "probabilities": dict(zip(labels, probabilities, strict=True)), "error": None})


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def build_api(
    served: ServedModel,
    decoders: Decoders,
    admission: Admission,
    max_batch: int,
    token: str | None,
    started: Callable[[], None],
) -> FastAPI:
    """Builds the application.

    Args:
        served: The model.
        decoders: Closed when the application ends.
        admission: Bounds what is under way.
        max_batch: Images that the model tags at once.
        token: What requests must bear, but those for /health and the documentation; nothing if not given.
        started: Called when the application starts.
    """
    telemetry = Telemetry(served.task.labels)
    predictor = Predictor(served, decoders, telemetry, max_batch)
    thresholds = _as_json(served.thresholds)
    protected = APIRouter(dependencies=[Depends(_check_of(token))] if token is not None else [])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        started()
        yield
        decoders.close()

    @protected.post(PATH, summary="Tag images", **PREDICT)
    async def predict(request: Request) -> Response:
        async with admission.body_of(request) as content:
            try:
                answers = await predictor(Body(content, request.headers.get("content-type", "")))
            except InputError as error:
                raise HTTPException(BAD, str(error)) from None
        is_bad = all(each.error is not None for each in answers)
        detail = f'"detail":{_as_json(answers[0].error)},' if is_bad else ""
        predictions = ",".join(each.content for each in answers)
        text = f'{{{detail}"predictions":[{predictions}],"thresholds":{thresholds}}}'
        return Response(text, BAD if is_bad else OK, media_type=JSON)

    @protected.get("/model", summary="Describe the model: its labels, thresholds, metrics and card")
    async def model() -> dict[str, Any]:
        return served.about

    @protected.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(telemetry.text(), media_type=CONTENT_TYPE)

    app = FastAPIOffline(title="multilabel_pl", version=__version__, description=DESCRIPTION, lifespan=lifespan)
    app.include_router(protected)
    app.add_middleware(Measured, path=PATH, telemetry=telemetry)

    @app.get("/health", summary="Report that the server is up")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _check_of(token: str) -> Any:
    """Returns what checks the token of a request."""
    expected = token.encode()

    async def check(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    ) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected):
            text = "this server needs a token: send the header Authorization: Bearer TOKEN"
            raise HTTPException(UNAUTHORIZED, text, {"WWW-Authenticate": "Bearer"})

    return check
