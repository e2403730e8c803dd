"""Transforms: from a file and its annotations to a `Sample`, a dict on the way."""

from mmkit.transforms.affine import RandomAffine
from mmkit.transforms.auto_augment import AutoAugment
from mmkit.transforms.base import FieldTransform, PixelTransform
from mmkit.transforms.classification import CenterCrop, RandomResizedCrop
from mmkit.transforms.color import (
    BrightnessTransform,
    ColorTransform,
    ContrastTransform,
    EqualizeTransform,
    Normalize,
    PhotoMetricDistortion,
    YOLOXHSVRandomAug,
)
from mmkit.transforms.compose import Compose
from mmkit.transforms.cropping import FilterAnnotations, MinIoURandomCrop, RandomCrop
from mmkit.transforms.expanding import Expand, Pad
from mmkit.transforms.flipping import RandomFlip
from mmkit.transforms.formatting import (
    Collect,
    DefaultFormatBundle,
    ImageToTensor,
    ToDataContainer,
    ToTensor,
    Transpose,
)
from mmkit.transforms.images import BrokenImageError
from mmkit.transforms.loading import LoadAnnotations, LoadImageFromFile, LoadImageFromWebcam, LoadProposals
from mmkit.transforms.mixing import MixUp, Mosaic
from mmkit.transforms.packing import MultiBranch, PackDetInputs
from mmkit.transforms.randomness import rng_of
from mmkit.transforms.resizing import Resize, SegRescale
from mmkit.transforms.test_time import MultiScaleFlipAug
from mmkit.transforms.warping import Rotate, Shear, Translate

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
    'FieldTransform',
    'FilterAnnotations',
    'ImageToTensor',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadImageFromWebcam',
    'LoadProposals',
    'MinIoURandomCrop',
    'MixUp',
    'Mosaic',
    'MultiBranch',
    'MultiScaleFlipAug',
    'Normalize',
    'PackDetInputs',
    'Pad',
    'PhotoMetricDistortion',
    'PixelTransform',
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
    'rng_of',
]
