"""The embedded backend: one file, one writer thread, group commit."""

from broker.storage.sqlite.backend import open_store

__all__ = ["open_store"]
