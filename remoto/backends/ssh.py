"""Hosts by ssh; this machine without."""

from . import BaseConnection

SshConnection = BaseConnection
