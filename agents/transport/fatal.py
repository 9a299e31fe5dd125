"""Crash only: everything that is not acknowledged is read again by the next process."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import NoReturn

from agents.runner.cells import BadState

log = logging.getLogger(__name__)

EXIT_CRASH = 70
"""Restart helps (a broker was away, an agent has a bug that a redeploy mends)."""
EXIT_REFUSED = 78
"""Restart does not help: topics or settings are wrong; the last log line says what."""


class Refuses(Exception):
    """The worker must not start on this: the text says what is wrong and what to do."""


REFUSALS = (Refuses, BadState)
"""What no restart mends, and people are told of."""
_last_words: list[Callable[[], None]] = []


def before_exit(say: Callable[[], None]) -> None:
    """`say` is called once before `fatal` ends the process. It must bound its own time and acknowledge nothing."""
    _last_words.append(say)


def fatal(why: str, error: BaseException | None = None) -> NoReturn:
    """Log one clear line and end the process at once, without cleaning up: a clean-up could acknowledge what is not done."""
    refused = isinstance(error, REFUSALS)
    if refused:
        log.critical("REFUSED to start: %s: %s", why, error)
    else:
        log.critical("FATAL %s: %r", why, error, exc_info=error)
    while _last_words:
        say = _last_words.pop()
        try:
            say()
        except Exception as failed:  # noqa: BLE001  nothing may keep a process that must end
            log.warning("leaving the group: %r", failed)
    logging.shutdown()
    os._exit(EXIT_REFUSED if refused else EXIT_CRASH)
