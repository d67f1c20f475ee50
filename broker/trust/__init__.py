"""How has it behaved? What the log says of an agent, as one number that only ever takes permissions away."""
