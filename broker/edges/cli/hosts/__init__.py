"""How is the broker registered in an agent host? Each host's own file and format."""
