"""From annotation files to batches."""

from mmkit.datasets import pipelines
from mmkit.datasets.build import build_dataloader, build_dataset, build_metrics
from mmkit.datasets.cifar import CIFAR10, CIFAR100
from mmkit.datasets.classification import ClassificationDataset
from mmkit.datasets.coco import CocoDataset
from mmkit.datasets.collate import collate
from mmkit.datasets.custom import CustomDataset
from mmkit.datasets.imagenet import ImageNet
from mmkit.datasets.mix import MultiImageMixDataset
from mmkit.datasets.samplers import DistributedGroupSampler, DistributedSampler, EpochSampler, GroupSampler
from mmkit.datasets.seeded import SeededDataset
from mmkit.datasets.voc import VOCDataset, XMLDataset
from mmkit.datasets.wrappers import ClassBalancedDataset, ConcatDataset, RepeatDataset

__all__ = [
    'CIFAR10',
    'CIFAR100',
    'ClassBalancedDataset',
    'ClassificationDataset',
    'CocoDataset',
    'ConcatDataset',
    'CustomDataset',
    'DistributedGroupSampler',
    'DistributedSampler',
    'EpochSampler',
    'GroupSampler',
    'ImageNet',
    'MultiImageMixDataset',
    'RepeatDataset',
    'SeededDataset',
    'VOCDataset',
    'XMLDataset',
    'build_dataloader',
    'build_dataset',
    'build_metrics',
    'collate',
    'pipelines',
]
