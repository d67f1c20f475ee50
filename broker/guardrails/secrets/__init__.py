"""Secrets: known forms, and values given to telling names."""
