"""Classifiers of whole images, and their heads."""

from mmkit.models.classifiers.image_classifier import ImageClassifier
from mmkit.models.classifiers.linear_cls_head import LinearClsHead

__all__ = ['ImageClassifier', 'LinearClsHead']
