"""Backbones: from images to feature maps."""

from mmkit.models.backbones.convnext import ConvNeXt
from mmkit.models.backbones.csp_darknet import CSPDarknet
from mmkit.models.backbones.csp_next import CSPNeXt
from mmkit.models.backbones.darknet import Darknet
from mmkit.models.backbones.hrnet import HRNet
from mmkit.models.backbones.mobilenet_v2 import MobileNetV2
from mmkit.models.backbones.pvt import PyramidVisionTransformer
from mmkit.models.backbones.regnet import RegNet
from mmkit.models.backbones.repvgg import RepVGG
from mmkit.models.backbones.res2net import Res2Net
from mmkit.models.backbones.resnest import ResNeSt
from mmkit.models.backbones.resnet import ResNet, ResNetV1d
from mmkit.models.backbones.resnext import ResNeXt
from mmkit.models.backbones.swin import SwinTransformer
from mmkit.models.backbones.timm_backbone import TIMMBackbone
from mmkit.models.backbones.vgg import SSDVGG, VGG

__all__ = [
    'SSDVGG',
    'VGG',
    'CSPDarknet',
    'CSPNeXt',
    'ConvNeXt',
    'Darknet',
    'HRNet',
    'MobileNetV2',
    'PyramidVisionTransformer',
    'RegNet',
    'RepVGG',
    'Res2Net',
    'ResNeSt',
    'ResNeXt',
    'ResNet',
    'ResNetV1d',
    'SwinTransformer',
    'TIMMBackbone',
]
