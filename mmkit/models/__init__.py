"""Backbones, necks, heads, losses, and the detectors and classifiers made of them."""

from mmkit.models import (
    backbones,
    classifiers,
    dense_heads,
    detectors,
    losses,
    mask_heads,
    necks,
    roi_heads,
    semantic_heads,
)
from mmkit.models.builder import (
    build_backbone,
    build_detector,
    build_head,
    build_loss,
    build_neck,
    build_neutral_model,
)

__all__ = [
    'backbones',
    'build_backbone',
    'build_detector',
    'build_head',
    'build_loss',
    'build_neck',
    'build_neutral_model',
    'classifiers',
    'dense_heads',
    'detectors',
    'losses',
    'mask_heads',
    'necks',
    'roi_heads',
    'semantic_heads',
]
