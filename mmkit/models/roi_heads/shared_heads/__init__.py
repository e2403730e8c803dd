"""Layers that all branches of a RoI head share."""

from mmkit.models.roi_heads.shared_heads.res_layer import ResLayer

__all__ = ['ResLayer']
