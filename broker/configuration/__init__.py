"""Which settings are in force? Files, environment and command line become one `Settings`."""
