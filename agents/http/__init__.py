"""What a worker tells over HTTP, on loopback: `/metrics`, `/live`, `/ready`. Progress, not just a socket."""
