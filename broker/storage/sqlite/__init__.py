"""The embedded backend: one file, one writer thread, group commit."""

from broker.storage.sqlite.backend import open_store
from broker.storage.sqlite.keyring import read_wrapping_key

__all__ = ["open_store", "read_wrapping_key"]
