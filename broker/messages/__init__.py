"""How does a client put a request to the broker, and what did it answer? The wire, without a connection."""
