"""Modules that the tests send to the far side. They run there on Pythons from 2.7 on."""
