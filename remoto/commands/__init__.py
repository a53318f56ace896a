"""Run a command through a connection: its request, its output, its timeouts, its failure."""
