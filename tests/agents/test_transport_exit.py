"""How a worker ends when a service of Faust's crashes: with the code of any other crash, after its own cleaning up."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agents.embedded.processes import free_ports
from agents.transport.fatal import EXIT_CRASH

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from agents.runner.stage import fold_flow
from agents.transport.faust_app import TransportSettings, build, run
from agents.transport.faust_plugin import register
from tests.agents.runner_toy import NO_REFERENCE, Summing

app = build(TransportSettings(group="g", bootstrap=sys.argv[1], data_dir=sys.argv[2]))
register(app, fold_flow(Summing("toy", "toy.in"), NO_REFERENCE))
try:
    run(app)
finally:
    print("cleaned up")
"""


def test_a_crash_of_fausts_own_services_ends_with_our_code_and_is_named(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    ended = subprocess.run([sys.executable, "-c", PROGRAM, nobody, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == EXIT_CRASH, ended.stderr
    assert "cleaned up" in ended.stdout
    assert "FATAL a service of the worker crashed: KafkaConnectionError" in ended.stderr
