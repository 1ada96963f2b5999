"""Metadata: an index over the recordings that can be rebuilt, and the tokens. Never evidence."""
