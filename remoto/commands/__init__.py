"""Run a command through a connection: request, output, timeouts, failure."""
