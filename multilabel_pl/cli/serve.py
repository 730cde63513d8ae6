"""The command `serve`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from multilabel_pl.errors import InputError, check_at_least, check_extra
from multilabel_pl.file_names import BEST, LAST
from multilabel_pl.messages import say
from multilabel_pl.processes import usable_cores
from multilabel_pl.training.runs import RUNS, find_checkpoint

if TYPE_CHECKING:
    from multilabel_pl.serving.served_model import ServedModel


def serve(
    model: str = BEST,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: str | None = None,
    threads: int | None = None,
    decoders: int | None = None,
    max_batch: int = 64,
    max_requests: int = 256,
    max_megabytes: float = 20,
    max_pixels: int = 25_000_000,
    runs: str = RUNS,
) -> None:
    """Serve a model over HTTP.

    Args:
        model: `best` or `last` of the newest run, the path of a checkpoint, or of a program in ONNX.
        host: Where the server can be reached: from this machine alone, or, with 0.0.0.0 and a token, from its network.
        port: The port; 0 for any that is free.
        token_file: A file with a token of at least 16 characters, which requests must send.
        threads: Threads that the model computes with; one for each core if not given.
        decoders: Processes that decode images; one for each core if not given.
        max_batch: Images that the model tags at once.
        max_requests: Requests that are answered at a time; further ones are refused with 429.
        max_megabytes: Size of a request's body, which may have several images; larger ones are refused with 413.
        max_pixels: An image that has more is not decoded, but reported.
        runs: Folder of the runs.
    """
    counts = {"threads": threads, "decoders": decoders, "max_batch": max_batch, "max_requests": max_requests}
    check_at_least(1, max_pixels=max_pixels, **{name: count for name, count in counts.items() if count is not None})
    if not 0 < max_megabytes < math.inf:
        raise InputError(f"--max_megabytes must be above 0, got {max_megabytes}")
    check_extra("serve", "serve")
    from multilabel_pl.serving.decoders import Decoders, prepare_decoders

    prepare_decoders()
    from multilabel_pl.serving.api import build_api  # these take a while to import
    from multilabel_pl.serving.limits import MEGABYTE, Admission
    from multilabel_pl.serving.server import address_of, listen, read_token, run

    token = read_token(token_file, host)
    path = find_checkpoint(Path(runs), model) if model in (BEST, LAST) else Path(model)
    served = _load(path, threads)
    with listen(host, port) as listener:
        pool = Decoders(served.task, max_pixels, decoders or usable_cores())
        pool.warm_up()
        address = address_of(listener)
        started = f"serving {path} at {address}, described at {address}/docs (Ctrl-C ends it)"
        admission = Admission(int(max_megabytes * MEGABYTE), max_requests)
        app = build_api(served, pool, admission, max_batch, token, lambda: say(started))
        run(app, listener, host, is_open=token is not None)


def _load(path: Path, threads: int | None) -> "ServedModel":
    from multilabel_pl.export.interface import ONNX

    if path.suffix == ONNX:
        from multilabel_pl.serving.programs import load_program

        return load_program(path, threads)
    from multilabel_pl.serving.checkpoints import load_checkpoint  # with Lightning, which a program has no use for

    return load_checkpoint(path, threads)
