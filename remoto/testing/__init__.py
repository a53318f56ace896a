"""Connections that answer from a script, for unit tests of programs that use remoto."""

from .connections import Hosts, ScriptedConnection
from .script import Called, Matcher, Ran, Script, Unexpected

__all__ = ["Called", "Hosts", "Matcher", "Ran", "Script", "ScriptedConnection", "Unexpected"]
