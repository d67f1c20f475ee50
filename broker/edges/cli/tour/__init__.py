"""What does the broker do, on one screen? `broker demo`: a broker of its own, real upstreams, real calls."""
