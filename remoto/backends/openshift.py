"""Connections to containers in OpenShift pods, by oc on this machine."""

from .kubernetes import KubernetesConnection


class OpenshiftConnection(KubernetesConnection):
    """A connection to a container of a running pod, by ``oc``.

    The parameters are those of :class:`remoto.backends.kubernetes.KubernetesConnection`.

    >>> conn = OpenshiftConnection('web-0', context='lab', container='app', eager=False)
    >>> conn.cmd(['ls', '-l'])
    ['oc', '--context', 'lab', 'exec', '-i', 'web-0', '-c', 'app', '--', '/bin/sh', '-c', 'ls -l']
    """

    executable = "oc"
