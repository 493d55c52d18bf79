"""Closed forms and event simulation of machine-learning systems, on one scenario.

>>> import secondorder as so
>>> so.roofline(so.models.resnet50, so.accelerators.a100_80gb, batch_size=1, precision="fp16").bottleneck
'overhead'
"""

from importlib.metadata import version

from lazy_loader import attach_stub

__version__ = version("secondorder")
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
