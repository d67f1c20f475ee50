"""How does the command line speak to a running broker? Over HTTP, like every other client."""
