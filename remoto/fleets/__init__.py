"""The parts of :class:`remoto.Group`."""
