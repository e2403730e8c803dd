"""The dialects of configs, read into neutral terms."""

from mmkit.dialects.param_scheduler import param_curve

__all__ = ['param_curve']
