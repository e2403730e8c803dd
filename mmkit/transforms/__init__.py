"""Transforms: from a file and its annotations to a `Sample`, a dict on the way."""

from mmkit.transforms.affine import RandomAffine
from mmkit.transforms.auto_augment import AutoAugment, RandAugment, RandomOrder
from mmkit.transforms.base import FieldTransform, PixelTransform
from mmkit.transforms.center_crop_pad import RandomCenterCropPad
from mmkit.transforms.classification import CenterCrop, RandomResizedCrop
from mmkit.transforms.color import Normalize, PhotoMetricDistortion, YOLOXHSVRandomAug
from mmkit.transforms.compose import Compose
from mmkit.transforms.copy_paste import CopyPaste
from mmkit.transforms.cropping import FilterAnnotations, MinIoURandomCrop, RandomCrop
from mmkit.transforms.enhancing import (
    AutoContrast,
    BrightnessTransform,
    ColorTransform,
    ContrastTransform,
    EqualizeTransform,
    Invert,
    Posterize,
    Sharpness,
    Solarize,
    SolarizeAdd,
)
from mmkit.transforms.erasing import CutOut, RandomErasing
from mmkit.transforms.expanding import Expand, Pad
from mmkit.transforms.external import Albu, Corrupt
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
from mmkit.transforms.loading import (
    LoadAnnotations,
    LoadEmptyAnnotations,
    LoadImageFromFile,
    LoadImageFromWebcam,
    LoadProposals,
)
from mmkit.transforms.mixing import Mosaic
from mmkit.transforms.mixup import MixUp
from mmkit.transforms.packing import MultiBranch, PackDetInputs
from mmkit.transforms.randomness import rng_of
from mmkit.transforms.resizing import Resize, SegRescale
from mmkit.transforms.shifting import RandomShift
from mmkit.transforms.test_time import MultiScaleFlipAug, TestTimeAug
from mmkit.transforms.warping import Rotate, Shear, Translate

__all__ = [
    'Albu',
    'AutoAugment',
    'AutoContrast',
    'BrightnessTransform',
    'BrokenImageError',
    'CenterCrop',
    'Collect',
    'ColorTransform',
    'Compose',
    'ContrastTransform',
    'CopyPaste',
    'Corrupt',
    'CutOut',
    'DefaultFormatBundle',
    'EqualizeTransform',
    'Expand',
    'FieldTransform',
    'FilterAnnotations',
    'ImageToTensor',
    'Invert',
    'LoadAnnotations',
    'LoadEmptyAnnotations',
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
    'Posterize',
    'RandAugment',
    'RandomAffine',
    'RandomCenterCropPad',
    'RandomCrop',
    'RandomErasing',
    'RandomFlip',
    'RandomOrder',
    'RandomResizedCrop',
    'RandomShift',
    'Resize',
    'Rotate',
    'SegRescale',
    'Sharpness',
    'Shear',
    'Solarize',
    'SolarizeAdd',
    'TestTimeAug',
    'ToDataContainer',
    'ToTensor',
    'Translate',
    'Transpose',
    'YOLOXHSVRandomAug',
    'rng_of',
]
