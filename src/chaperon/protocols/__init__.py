"""One folder a protocol, and the registry of them."""
