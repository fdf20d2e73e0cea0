"""Ctrl-C for the threads of a transfer: the main thread alone gets it, and this tells the others.

What waits or moves bytes asks here; who is told ends as if the signal had come to it.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import ParamSpec, TypeVar

_LOOK_SECONDS = 0.5
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_told: ContextVar[threading.Event | None] = ContextVar("_told", default=None)


@contextmanager
def passed_on() -> Iterator[None]:
    """Have what was submitted in the block end soon if Ctrl-C ends the block.

    An error of one transfer leaves the others alone: what was begun may end.
    """
    event = _told.get() or threading.Event()
    token = _told.set(event)
    try:
        yield
    except KeyboardInterrupt:
        event.set()
        raise
    finally:
        _told.reset(token)


def submit(
    pool: Executor,
    act: Callable[_Parameters, _Result],
    *arguments: _Parameters.args,
    **options: _Parameters.kwargs,
) -> Future[_Result]:
    """Have a pool act, and hear of it if the block around this is left."""
    context = copy_context()
    return pool.submit(lambda: context.run(act, *arguments, **options))


def first_done(running: Collection[Future[_Result]]) -> set[Future[_Result]]:
    """Return those of some that are done, as soon as one is.

    A signal that comes in the instant before a wait does not end it, so this looks up now and then.
    """
    done: set[Future[_Result]] = set()
    while not done:
        done, _ = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
    return done


def check() -> None:
    """Raise KeyboardInterrupt if this thread is to end."""
    event = _told.get()
    if event is not None and event.is_set():
        raise KeyboardInterrupt


def sleep(seconds: float) -> None:
    """Wait; raise KeyboardInterrupt as soon as this thread is to end."""
    event = _told.get()
    if event is None:
        time.sleep(seconds)
    elif event.wait(seconds):
        raise KeyboardInterrupt
