"""Java's ahead-of-time cache for the embedded Kafka: recorded once on each machine, never shipped (it checks the jars' times)."""
from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from agents.embedded.jars import one_at_a_time
from agents.embedded.kafka import Broker
from agents.embedded.processes import EmbeddedError, discard, temporary


class AotRecorder:
    """Makes Java's ahead-of-time cache for this machine, once, beside the work: a spare broker at the lowest priority starts, ends and writes it.

    The cache halves every later start; this start gains nothing and must not lose anything, hence the priority."""

    RECORD_S = 300.0

    def __init__(self, classpath: str, file: Path) -> None:
        self.file = file
        self.error: EmbeddedError | None = None
        """Why there is still no cache. Only later starts are slower, so nobody must stop for it."""
        self._classpath = classpath
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aot-recorder", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Give up: the next start records. Does nothing when it is done."""
        self._cancelled.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait(self, timeout_s: float) -> bool:
        """Whether the cache is there after at most this time."""
        self._thread.join(timeout_s)
        return self.file.exists()

    def _run(self) -> None:
        with one_at_a_time(self.file.with_suffix(".lock"), wait=False) as ours:
            if ours and not self.file.exists():
                try:
                    self._record()
                except EmbeddedError as error:
                    self.error = error

    def _record(self) -> None:
        directory = temporary("railclear-aot-")  # Java leaves parts when it is killed, so not in the cache
        fresh = directory / "kafka.aot"
        broker = Broker(self._classpath, directory / "kafka", jvm=(f"-XX:AOTCacheOutput={fresh}",), nice=19)
        try:
            process = broker.start().process
            if process is not None and self._until(lambda: broker.answers() or not broker.running):
                broker.terminate()
                if self._until(lambda: process.poll() is not None) and fresh.exists():
                    copy = self.file.with_suffix(".new")
                    shutil.copyfile(fresh, copy)
                    copy.rename(self.file)
        finally:
            broker.kill()
            discard(directory)

    def _until(self, done: Callable[[], bool]) -> bool:
        end = time.monotonic() + self.RECORD_S
        while not self._cancelled.wait(0.05) and time.monotonic() < end:
            if done():
                return True
        return False
