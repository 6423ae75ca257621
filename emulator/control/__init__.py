"""Control of a running testbed: its HTTP API, and the commands' side of it."""
