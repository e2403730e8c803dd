"""Images in, feature maps out."""

from mmkit.models.backbones.resnet import ResNet, ResNetV1d
from mmkit.models.backbones.resnext import ResNeXt

__all__ = ['ResNeXt', 'ResNet', 'ResNetV1d']
