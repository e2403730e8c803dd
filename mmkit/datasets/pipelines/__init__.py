"""Transforms: from a file and its annotations to a `Sample`, a dict on the way."""

from mmkit.datasets.pipelines.color import Normalize, PhotoMetricDistortion
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
from mmkit.datasets.pipelines.test_time import MultiScaleFlipAug

__all__ = [
    'BrokenImageError',
    'Collect',
    'Compose',
    'DefaultFormatBundle',
    'Expand',
    'FilterAnnotations',
    'ImageToTensor',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadImageFromWebcam',
    'LoadProposals',
    'MinIoURandomCrop',
    'MultiScaleFlipAug',
    'Normalize',
    'Pad',
    'PhotoMetricDistortion',
    'RandomCrop',
    'RandomFlip',
    'Resize',
    'SegRescale',
    'ToDataContainer',
    'ToTensor',
    'Transpose',
]
