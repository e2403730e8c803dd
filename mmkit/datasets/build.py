"""From configs to datasets and loaders."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from mmkit.config import ConfigDict
from mmkit.datasets.collate import collate
from mmkit.datasets.data_samplers import SampledData, build_batch_sampler, build_sampler
from mmkit.datasets.samplers import DistributedGroupSampler, DistributedSampler, EpochSampler, GroupSampler
from mmkit.datasets.seeded import SeededDataset
from mmkit.datasets.wrappers import ConcatDataset, as_dataset
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.metrics import EvaluateMetric, EvaluatesItself
from mmkit.protocols import Metric
from mmkit.utils.dist import get_rank, get_world_size

# A config, a dataset, or several of them that are concatenated.
DatasetLike = Mapping[str, Any] | SeededDataset | Sequence['DatasetLike']
PER_FILE = ('ann_file', 'img_prefix', 'seg_prefix', 'proposal_file')


def build_dataset(cfg: DatasetLike, default_args: Mapping[str, Any] | None = None) -> SeededDataset:
    """Builds a dataset.

    Args:
        cfg: a config, or a dataset, which stays itself. A list of configs, or one with a list as `ann_file`, gives a
            `ConcatDataset`.
        default_args: arguments, such as `test_mode`, of every dataset that a wrapper holds or that stands alone.

    Raises:
        UserError: if the config is wrong, or its class is no dataset.
    """
    if isinstance(cfg, Sequence):
        return ConcatDataset([build_dataset(part, default_args) for part in cfg])
    if not isinstance(cfg, Mapping):
        return as_dataset(cfg)
    if 'dataset' in cfg or 'datasets' in cfg:
        wrapper: Any = copy.copy(cfg)
        for key in ('dataset', 'datasets'):
            if key in wrapper:
                wrapper[key] = _build_inner(wrapper[key], default_args)
        return as_dataset(wrapper)
    if isinstance(cfg.get('ann_file'), (list, tuple)):
        return _build_of_files(cfg, default_args)
    return as_dataset(cfg, default_args)


def _build_inner(cfg: DatasetLike, default_args: Mapping[str, Any] | None) -> SeededDataset | list[SeededDataset]:
    if isinstance(cfg, Sequence):
        return [build_dataset(part, default_args) for part in cfg]
    return build_dataset(cfg, default_args)


def _build_of_files(cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None) -> ConcatDataset:
    """One dataset for each of several annotation files; prefixes are lists of as many, or the same for all."""
    num_files = len(cfg['ann_file'])
    parts = []
    for number in range(num_files):
        part: Any = copy.copy(cfg)
        part.pop('separate_eval', None)
        for key in PER_FILE:
            if isinstance(cfg.get(key), (list, tuple)):
                if len(cfg[key]) != num_files:
                    message = f'{key} has {len(cfg[key])} entries, ann_file has {num_files}'
                    raise InvalidValueError(message, key=key)
                part[key] = cfg[key][number]
                if isinstance(cfg, ConfigDict):  # it was written where the list was
                    part._put(key, part[key], cfg._origins.get(key))
        parts.append(build_dataset(part, default_args))
    return ConcatDataset(parts, cfg.get('separate_eval', True))


def build_metrics(dataset: object, **arguments: Any) -> list[Metric]:
    """Metrics of a dataset, with its ground truth; arguments as in `SeededDataset.build_metrics`.

    A dataset of another kind that has a method `evaluate(outputs, **arguments)` is evaluated by it.

    Raises:
        UserError: for a wrong argument, or a dataset that cannot be evaluated.
    """
    if isinstance(dataset, SeededDataset):
        return dataset.build_metrics(**arguments)
    if isinstance(dataset, EvaluatesItself):
        return [EvaluateMetric(dataset, arguments)]
    raise InvalidTypeError(f'a {type(dataset).__name__} cannot be evaluated: it has no method evaluate')


def build_dataloader(
    dataset: SeededDataset,
    samples_per_gpu: int,
    workers_per_gpu: int,
    num_gpus: int = 1,
    dist: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    *,
    persistent_workers: bool = False,
    pin_memory: bool | None = None,
    drop_last: bool = False,
    prefetch_factor: int | None = None,
    sampler: Mapping[str, Any] | None = None,
    batch_sampler: Mapping[str, Any] | None = None,
) -> DataLoader[Any]:
    """A loader of batches; call `set_epoch(epoch)` of its `sampler`, or `batch_sampler`, before every epoch.

    Args:
        dataset: what to load.
        samples_per_gpu: images of a batch on each GPU.
        workers_per_gpu: processes that prepare them; 0 prepares them in this one.
        num_gpus: GPUs that this process feeds; 1 with `dist`.
        dist: divide the images among the processes of torch.distributed.
        shuffle: a new order in every epoch, wide and high images in batches of their own.
        seed: of the order and of the augmentations, the same in all processes; None draws one.
        persistent_workers: keep the workers from one epoch to the next.
        pin_memory: by default where there is CUDA.
        drop_last: leave out a last batch that is smaller.
        prefetch_factor: batches prepared ahead by each worker.
        sampler: class in DATA_SAMPLERS and its arguments, which decides in the place of `shuffle`.
        batch_sampler: the same for batches.
    """
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
    dataset.set_seed(seed)
    num_gpus = 1 if dist else num_gpus
    num_workers = num_gpus * workers_per_gpu
    ranks = (get_world_size(), get_rank()) if dist else (1, 0)
    source = SampledData(dataset, num_gpus * samples_per_gpu, *ranks, seed, drop_last)
    return DataLoader(
        dataset,
        **_batching(source, sampler, batch_sampler, shuffle),
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available() if pin_memory is None else pin_memory,
        worker_init_fn=_start_worker,
        generator=torch.Generator().manual_seed(seed),  # or every epoch would take a number from the global one
        persistent_workers=persistent_workers and num_workers > 0,
        prefetch_factor=prefetch_factor if num_workers > 0 else None,
    )


def _batching(
    source: SampledData, sampler: Mapping[str, Any] | None, batch_sampler: Mapping[str, Any] | None, shuffle: bool
) -> dict[str, Any]:
    """Arguments of a DataLoader that say which samples make a batch."""
    if batch_sampler is not None:
        order = build_sampler(sampler or {'type': 'DefaultSampler', 'shuffle': shuffle}, source)
        return dict(batch_sampler=build_batch_sampler(batch_sampler, order, source))
    order = build_sampler(sampler, source) if sampler is not None else _order_of_2x(source, shuffle)
    return dict(sampler=order, batch_size=source.batch_size, drop_last=source.drop_last)


def _order_of_2x(source: SampledData, shuffle: bool) -> EpochSampler:
    dataset, num_replicas, rank, seed = source.dataset, source.num_replicas, source.rank, source.seed
    if not shuffle or dataset.flag is None:
        return DistributedSampler(dataset, num_replicas, rank, shuffle, seed)
    if num_replicas == 1:
        return GroupSampler(dataset, source.batch_size, seed)
    return DistributedGroupSampler(dataset, source.batch_size, num_replicas, rank, seed)


def _start_worker(worker_id: int) -> None:
    """Turn OpenCV's threads off, as there are several workers, and seed the global random states of this one."""
    cv2.setNumThreads(0)
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)
