"""The message bus: a hub that routes through the links, and an endpoint per node."""
