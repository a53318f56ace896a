"""Open execnet gateways over processes that remoto starts, and carry messages through them."""
