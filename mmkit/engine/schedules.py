"""Learning-rate curves of 2.x's configs, under the name that scripts import."""

from mmkit.dialects.lr_config import lr_curve

__all__ = ['lr_curve']
