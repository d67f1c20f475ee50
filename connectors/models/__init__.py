"""What the connectors to providers of models share: settings, requests, and how a stream is passed on."""
