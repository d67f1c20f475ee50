"""Built-in connectors, each written exactly as a third party would write it."""
