"""Chaperon: a layer-7 access gateway for autonomous agents."""

__version__ = "0.1.0"
