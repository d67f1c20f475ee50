"""Dangerous arguments: payloads in fields whose role makes them dangerous."""
