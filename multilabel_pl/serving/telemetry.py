"""Figures for Prometheus."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMESPACE = "multilabel_pl"
CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Telemetry:
    """Counts requests, images and tags, and times what is done for them.

    Args:
        labels: The model's.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a series beside each counter, which nobody looks at
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = self._counter("requests", "Requests to predict, by the status of their answer", "status")
        self.seconds = self._histogram("request_seconds", "Seconds from a request's head to its answer", SECONDS)
        self.active = Gauge("active_requests", "Requests under way.", namespace=NAMESPACE, registry=self._registry)
        self._images = self._counter("images", "Images that were tagged, or failed to be decoded", "result")
        self._sizes = self._histogram("batch_size", "Images that the model tagged at once", SIZES)
        self._busy = self._counter("busy_seconds", "Seconds of work on batches", "stage")
        tags = self._counter("tags", "Tags given; their share of the images shows drift", "label")
        self._tags = [tags.labels(label) for label in labels]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the work on a batch in a stage, `decode` or `model`."""
        start = perf_counter()
        try:
            yield
        finally:
            self._busy.labels(name).inc(perf_counter() - start)

    def count_tagged(self, tags: NDArray[np.bool_]) -> None:
        """Counts the images and the tags, bool (B, L), of a batch."""
        self._images.labels("tagged").inc(len(tags))
        self._sizes.observe(len(tags))
        counts = tags.sum(axis=0)
        for label in counts.nonzero()[0]:
            self._tags[label].inc(int(counts[label]))

    def count_failed(self) -> None:
        """Counts an image that could not be decoded."""
        self._images.labels("failed").inc()

    def text(self) -> bytes:
        """Returns all figures in Prometheus's form."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, by: str) -> Counter:
        return Counter(name, f"{text}.", [by], namespace=NAMESPACE, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, f"{text}.", buckets=buckets, namespace=NAMESPACE, registry=self._registry)


class Measured:
    """Middleware that counts and times the requests to one path.

    Args:
        app: What answers.
        path: The path.
        telemetry: What counts.
    """

    def __init__(self, app: ASGIApp, path: str, telemetry: Telemetry) -> None:
        self._app = app
        self._path = path
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._telemetry.requests.labels(str(message["status"])).inc()
            await send(message)

        with self._telemetry.active.track_inprogress(), self._telemetry.seconds.time():
            await self._app(scope, receive, counted)
