"""Run functions of a module on the remote side: ``legacy`` in a Python that keeps running, ``json_calls`` in a new one each."""
