"""What do the engines of others say? Each in a process of its own, out of the broker's way."""
