"""The name under which mmdetection's users know `mmkit.transforms`."""

from mmkit.transforms import *
from mmkit.transforms import __all__ as __all__
