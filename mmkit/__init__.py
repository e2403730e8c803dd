"""mmkit: a modular object-detection toolbox on PyTorch and torchvision."""

from mmkit.config import Config, ConfigDict
from mmkit.registry import Registry, build_from_cfg
from mmkit.version import __version__

__all__ = ['Config', 'ConfigDict', 'Registry', '__version__', 'build_from_cfg']
