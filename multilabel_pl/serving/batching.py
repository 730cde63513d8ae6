"""Batches across requests."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Gathers items while workers are busy; a free worker takes what is there, so that nothing waits for company.

    Args:
        run: Works on a batch, and returns the answers in its order.
        max_size: Items in a batch.
        workers: Batches that are worked on at a time.
    """

    def __init__(
        self, run: Callable[[list[Item]], Awaitable[Sequence[Answer]]], max_size: int, workers: int = 1
    ) -> None:
        self._run = run
        self._max_size = max_size
        self._free = workers
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Answer:
        """Returns the answer for an item; raises what working on its batch raises."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._start()
        return await answer

    def _start(self) -> None:
        """Gives free workers a batch each, as equal as can be."""
        while self._waiting and self._free:
            size = min(self._max_size, -(-len(self._waiting) // self._free))
            batch = [self._waiting.popleft() for _ in range(size)]
            self._free -= 1
            task = asyncio.create_task(self._work(batch))
            self._tasks.add(task)  # the loop itself keeps no task from being collected
            task.add_done_callback(self._tasks.discard)

    async def _work(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        wanted = [(item, answer) for item, answer in batch if not answer.cancelled()]
        try:
            answers = await self._run([item for item, _ in wanted])
        except Exception as error:
            for _, answer in wanted:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for (_, answer), found in zip(wanted, answers, strict=True):
                if not answer.done():
                    answer.set_result(found)
        finally:
            self._free += 1
            self._start()
