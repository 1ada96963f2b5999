"""The gateway's own interface to people and machines: the control socket and its client."""
