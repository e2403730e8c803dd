"""Transforms: from a file and its annotations to a `Sample`, a dict on the way."""

from mmkit.datasets.pipelines.affine import RandomAffine
from mmkit.datasets.pipelines.auto_augment import AutoAugment
from mmkit.datasets.pipelines.classification import CenterCrop, RandomResizedCrop
from mmkit.datasets.pipelines.color import (
    BrightnessTransform,
    ColorTransform,
    ContrastTransform,
    EqualizeTransform,
    Normalize,
    PhotoMetricDistortion,
    YOLOXHSVRandomAug,
)
from mmkit.datasets.pipelines.compose import Compose
from mmkit.datasets.pipelines.cropping import Expand, FilterAnnotations, MinIoURandomCrop, RandomCrop
from mmkit.datasets.pipelines.formatting import (
    Collect,
    DefaultFormatBundle,
    ImageToTensor,
    ToDataContainer,
    ToTensor,
    Transpose,
)
from mmkit.datasets.pipelines.geometry import Pad, RandomFlip, Resize, SegRescale
from mmkit.datasets.pipelines.images import BrokenImageError
from mmkit.datasets.pipelines.loading import LoadAnnotations, LoadImageFromFile, LoadImageFromWebcam, LoadProposals
from mmkit.datasets.pipelines.mixing import MixUp, Mosaic
from mmkit.datasets.pipelines.test_time import MultiScaleFlipAug
from mmkit.datasets.pipelines.warping import Rotate, Shear, Translate

__all__ = [
    'AutoAugment',
    'BrightnessTransform',
    'BrokenImageError',
    'CenterCrop',
    'Collect',
    'ColorTransform',
    'Compose',
    'ContrastTransform',
    'DefaultFormatBundle',
    'EqualizeTransform',
    'Expand',
    'FilterAnnotations',
    'ImageToTensor',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadImageFromWebcam',
    'LoadProposals',
    'MinIoURandomCrop',
    'MixUp',
    'Mosaic',
    'MultiScaleFlipAug',
    'Normalize',
    'Pad',
    'PhotoMetricDistortion',
    'RandomAffine',
    'RandomCrop',
    'RandomFlip',
    'RandomResizedCrop',
    'Resize',
    'Rotate',
    'SegRescale',
    'Shear',
    'ToDataContainer',
    'ToTensor',
    'Translate',
    'Transpose',
    'YOLOXHSVRandomAug',
]
