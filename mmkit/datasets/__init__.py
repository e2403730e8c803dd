"""From annotation files to batches."""

from mmkit.datasets import pipelines
from mmkit.datasets.base_det import BaseDetDataset
from mmkit.datasets.build import build_dataloader, build_dataset, build_metrics
from mmkit.datasets.cifar import CIFAR10, CIFAR100
from mmkit.datasets.classification import ClassificationDataset
from mmkit.datasets.coco import CocoDataset
from mmkit.datasets.coco_variants import (
    CityscapesDataset,
    DeepFashionDataset,
    LVISV05Dataset,
    Objects365V2Dataset,
)
from mmkit.datasets.collate import collate
from mmkit.datasets.crowd_human import CrowdHumanDataset
from mmkit.datasets.custom import CustomDataset
from mmkit.datasets.data_samplers import AspectRatioBatchSampler, DefaultSampler, InfiniteSampler
from mmkit.datasets.imagenet import ImageNet
from mmkit.datasets.mix import MultiImageMixDataset
from mmkit.datasets.samplers import DistributedGroupSampler, DistributedSampler, EpochSampler, GroupSampler
from mmkit.datasets.seeded import SeededDataset
from mmkit.datasets.source_samplers import ClassAwareSampler, MultiDataSampler, MultiSourceSampler, RepeatAugSampler
from mmkit.datasets.voc import VOCDataset, WIDERFaceDataset, XMLDataset
from mmkit.datasets.wrappers import ClassBalancedDataset, ConcatDataset, RepeatDataset

__all__ = [
    'CIFAR10',
    'CIFAR100',
    'AspectRatioBatchSampler',
    'BaseDetDataset',
    'CityscapesDataset',
    'ClassAwareSampler',
    'ClassBalancedDataset',
    'ClassificationDataset',
    'CocoDataset',
    'ConcatDataset',
    'CrowdHumanDataset',
    'CustomDataset',
    'DeepFashionDataset',
    'DefaultSampler',
    'DistributedGroupSampler',
    'DistributedSampler',
    'EpochSampler',
    'GroupSampler',
    'ImageNet',
    'InfiniteSampler',
    'LVISV05Dataset',
    'MultiDataSampler',
    'MultiImageMixDataset',
    'MultiSourceSampler',
    'Objects365V2Dataset',
    'RepeatAugSampler',
    'RepeatDataset',
    'SeededDataset',
    'VOCDataset',
    'WIDERFaceDataset',
    'XMLDataset',
    'build_dataloader',
    'build_dataset',
    'build_metrics',
    'collate',
    'pipelines',
]
