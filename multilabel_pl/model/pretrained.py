"""Pretrained weights of timm's models, from the Hugging Face Hub or from its cache on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from multilabel_pl.errors import InputError

PATIENCE = 3.0  # seconds for the Hub to answer; its own client would try for a minute


@contextmanager
def weights_within_reach(name: str) -> Iterator[None]:
    """Uses the cache alone where the Hub does not answer.

    Args:
        name: The model, for the message.

    Raises:
        InputError: If its weights are not in the cache then.
    """
    from huggingface_hub import constants  # which timm brings
    from huggingface_hub.errors import LocalEntryNotFoundError

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"its pretrained weights are not in {constants.HF_HUB_CACHE}, and {constants.ENDPOINT} does not answer: "
            f"connect, copy that folder from a machine that has {name}, or leave out --model.pretrained"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    """Whether an address answers in time, by way of a proxy if there is one."""
    from huggingface_hub import get_session

    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(get_session().head(address, timeout=PATIENCE))
        except Exception:  # of its HTTP library, which is another one from version to version
            return

    asking = Thread(target=ask, daemon=True)  # since looking up a name has no time limit
    asking.start()
    asking.join(PATIENCE)
    return bool(answers)
