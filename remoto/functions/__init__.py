"""Run functions of a module on the remote side: in a Python that keeps running, or in a new one for each call."""
