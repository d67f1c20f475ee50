"""Where it is kept: one backend each."""
