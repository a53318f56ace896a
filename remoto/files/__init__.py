"""Copy files to and from the remote side."""
