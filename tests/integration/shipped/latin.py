# -*- coding: latin-1 -*-
"""Not in UTF-8."""


def text():
    return u"ä"
