"""The worker's own endpoints, served from a thread of their own: a stuck main loop is seen, not hidden."""
from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any, Protocol

import msgspec
import uvicorn
from litestar import Litestar, Response, get
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

START_SECONDS_MAX = 10.0


class Verdict(msgspec.Struct, frozen=True):
    """An answer to "are you live?" or "are you ready?", with its reasons."""

    ok: bool
    reasons: tuple[str, ...] = ()
    details: dict[str, Any] = {}


class Probe(Protocol):
    """What the worker knows of itself. Called from the HTTP thread: reads plain attributes only."""

    def live(self) -> Verdict:
        """False: restart this process."""
        ...

    def ready(self) -> Verdict:
        """True: every wanted partition is assigned, restored and moving."""
        ...


def build(probe: Probe, registry: CollectorRegistry) -> Litestar:
    """The application, without a server."""

    @get("/live", sync_to_thread=False)
    def live() -> Response[Verdict]:
        verdict = probe.live()
        return Response(verdict, status_code=200 if verdict.ok else 503)

    @get("/ready", sync_to_thread=False)
    def ready() -> Response[Verdict]:
        verdict = probe.ready()
        return Response(verdict, status_code=200 if verdict.ok else 503)

    @get("/metrics", sync_to_thread=False)
    def metrics() -> Response[bytes]:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    # Its own logging would put what the process says into a queue, and the last line of one that ends at once would stay there.
    return Litestar([live, ready, metrics], openapi_config=None, logging_config=None)


class _Server(uvicorn.Server):
    """Leaves the process's signals alone: they are the worker's."""

    def install_signal_handlers(self) -> None:
        return None


class HealthServer:
    """Serves the endpoints on loopback until stopped. `port` is the real one after `start()`."""

    def __init__(self, probe: Probe, registry: CollectorRegistry, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._app = build(probe, registry)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises OSError when the port is taken: say another with --http-port."""
        sock = socket.create_server((self.host, self.port)) if ":" not in self.host else socket.create_server((self.host, self.port), family=socket.AF_INET6)
        self.port = sock.getsockname()[1]
        config = uvicorn.Config(self._app, log_level="warning", access_log=False, lifespan="off")
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._serve, args=(sock,), name="health", daemon=True)
        self._thread.start()

    def _serve(self, sock: socket.socket) -> None:
        assert self._server is not None, "started"
        asyncio.run(self._server.serve(sockets=[sock]))

    def stop(self) -> None:
        """Ends within a few seconds; safe to call twice."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(START_SECONDS_MAX)
            self._server = None
