"""Containers of an OpenShift cluster, by oc on this machine."""

from .kubernetes import KubernetesConnection


class OpenshiftConnection(KubernetesConnection):
    """As :class:`remoto.backends.kubernetes.KubernetesConnection`, by ``oc``.

    >>> conn = OpenshiftConnection('web-0', context='lab', container='app', eager=False)
    >>> conn.cmd(['ls', '-l'])
    ['oc', '--context', 'lab', 'exec', '-i', 'web-0', '-c', 'app', '--', '/bin/sh', '-c', 'ls -l']
    """

    executable = "oc"
