"""A process that starts servers, tells about them on standard output and waits to be killed: `embedded_child.py all|postgres [keep]`.

The tests end it in every way there is and look at what is left. Arguments by environment: RAILCLEAR_TEST_CACHE."""
from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

from agents.embedded import EmbeddedServers, Postgres
from agents.embedded import processes as embedded_processes

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def loopback_up() -> None:
    """A new network namespace has its loopback down."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH", b"lo", IFF_UP))


def main(what: str, keep: Path | None) -> None:
    cache = os.environ.get("RAILCLEAR_TEST_CACHE")
    if what == "offline":
        loopback_up()
    if what == "postgres":
        postgres = Postgres(keep).start().wait()
        told = {"dsn": postgres.dsn, "data": str(postgres.base), "pids": [postgres.process.pid if postgres.process else 0]}
    else:
        servers = EmbeddedServers(keep=keep, cache=Path(cache) if cache else None, aot="use").start()
        told = {"dsn": servers.dsn, "bootstrap": servers.bootstrap, "data": str(servers.data), "pids": [p.pid for p in servers.processes]}
    reaper = embedded_processes.reaper_pid()
    print(json.dumps(told | {"reaper": reaper}), flush=True)
    time.sleep(120)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
