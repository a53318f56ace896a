"""Functions of a module, run on the remote side: ``legacy`` in a Python that stays, ``json_calls`` in a fresh one for each call."""
