# -*- coding: latin-1 -*-
TEXT = u"ä"
