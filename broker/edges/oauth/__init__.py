"""The authorization server: who gets a token, and how clients find out where."""

from broker.edges.oauth.site import routes

__all__ = ["routes"]
