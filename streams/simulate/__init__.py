"""The simulator: a seeded, pure world of trains, forwarders, railways, terminals and authorities that talk to railclear.

`simulate` is the one entrance; everything here is synthetic. It reads the reference and a random generator, never a clock.
"""
from streams.simulate.options import Rates, SimOptions
from streams.simulate.pace import Paced, compressed, default_speed
from streams.simulate.sent import Sent
from streams.simulate.world import expected_dead_letters, simulate

__all__ = ["Paced", "Rates", "Sent", "SimOptions", "compressed", "default_speed", "expected_dead_letters", "simulate"]
