"""Predictions for a whole dataset, by one process or several, from one view of an image or from more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.engine.checkpoint import unwrap
from mmkit.ops import batched_nms
from mmkit.structures import Batch, EncodedMasks, ImageMeta, Instances, Prediction
from mmkit.utils import dist
from mmkit.utils.progress import track

Visit = Callable[[ImageMeta, Prediction], None]


def single_gpu_test(model: nn.Module, loader: Iterable[Any], visit: Visit | None = None) -> list[Prediction]:
    """Detections, or class scores, of every image of a loader.

    Args:
        model: a detector or a classifier; it is in evaluation mode meanwhile.
        loader: gives a `Batch`, or the views of the images as a list of them (test-time augmentation).
        visit: called with each image's meta and prediction as they come.

    Returns:
        `Instances` in pixels of the original images, or `ClassScores`, on the CPU, in the order of the loader.
    """
    found: list[Prediction] = []
    sampler: Any = getattr(loader, 'sampler', None)
    total = len(sampler) if hasattr(sampler, '__len__') else None  # of this process
    with evaluating(model), track(total=total, desc='testing', unit='img') as bar:
        for views in loader:
            predicted = predict_views(model, views)
            if visit is not None:
                metas = views.metas if isinstance(views, Batch) else views[0].metas
                for meta, each in zip(metas, predicted, strict=True):
                    visit(meta, each)
            found.extend(predicted)
            bar.update(len(predicted))
    return found


def multi_gpu_test(model: nn.Module, loader: Any, visit: Visit | None = None) -> list[Prediction]:
    """`single_gpu_test` with the work shared between processes, whose samplers each give a part of the images.

    Args:
        loader: a DataLoader whose sampler gives the same indices whenever it is asked.

    Returns:
        The predictions for all images in the order of the dataset, in every process.
    """
    own = (list(loader.sampler), single_gpu_test(model, loader, visit))
    if len(own[0]) != len(own[1]):
        raise RuntimeError(f'the sampler named {len(own[0])} images, but {len(own[1])} were predicted')
    by_index: dict[int, Prediction] = {}
    for indices, found in dist.all_gather_object(own):
        by_index.update(zip(indices, found, strict=True))
    total = len(loader.dataset)
    missing = set(range(total)) - set(by_index)
    if missing:
        raise RuntimeError(f'no process predicted image {min(missing)} of {total}: is the sampler random?')
    return [by_index[index] for index in range(total)]


@torch.no_grad()
def predict_views(model: nn.Module, views: Batch | Sequence[Batch]) -> list[Prediction]:
    """Predictions for the images of one batch, or of several views of the same images; on the CPU."""
    detector: Any = unwrap(model)
    device = next(detector.parameters()).device
    if isinstance(views, Batch):
        return [found.to('cpu') for found in detector.predict(detector.preprocess(views.to(device)))]
    if len(views) == 1:
        return predict_views(model, views[0])
    merging = Merging.of(detector)
    per_view = []
    for view in views:
        predicted = [found.to('cpu') for found in detector.predict(detector.preprocess(view.to(device)))]
        per_view.append([flip_back(found, meta) for found, meta in zip(predicted, view.metas, strict=True)])
    return [merge_views(found, merging) for found in zip(*per_view, strict=True)]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards the mode from before."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@dataclass
class Merging:
    """How detections of several views become one list.

    Attributes:
        nms: arguments of `batched_nms`.
        max_num: detections kept per image; negative: all.
    """

    nms: Mapping[str, Any]
    max_num: int = -1

    @classmethod
    def of(cls, detector: nn.Module) -> Merging:
        """By the `nms` and `max_per_img` in the test_cfg of the detector's last stage.

        Raises:
            ValueError: if it has no NMS.
        """
        for name in ('roi_head', 'bbox_head', 'mask_head', 'rpn_head'):
            cfg = getattr(getattr(detector, name, None), 'test_cfg', None)
            values = cfg if isinstance(cfg, Mapping) else vars(cfg) if cfg is not None else {}
            if values.get('nms') is not None:
                return cls(values['nms'], values.get('max_per_img', -1))
        raise ValueError(
            f'test-time augmentation merges views by NMS, and the test_cfg of {type(detector).__name__} has no nms: '
            'set flip=False and a single img_scale in MultiScaleFlipAug'
        )


def merge_views(views: Sequence[Instances], merging: Merging) -> Instances:
    """One list of detections out of those in several views: NMS over all of them.

    Args:
        views: of one image, in pixels of the original image, not flipped.
    """
    together = Instances.cat(views)
    if not len(together):
        return together
    assert together.scores is not None and together.labels is not None
    detections, keep = batched_nms(together.bboxes, together.scores, together.labels, merging.nms)
    if merging.max_num > 0:
        detections, keep = detections[: merging.max_num], keep[: merging.max_num]
    return replace(together[keep], bboxes=detections[:, :4], scores=detections[:, 4])


def flip_back(found: Instances, meta: ImageMeta) -> Instances:
    """Detections in a mirrored view -> in the image as it was.

    Args:
        found: in pixels of the original image's size.
    """
    if not meta.flip:
        return found
    direction = meta.flip_direction or 'horizontal'
    masks = found.masks
    if masks is not None:
        masks = EncodedMasks.from_bitmaps(masks.to_bitmap().flip(direction).to_ndarray())
    return replace(found, bboxes=_mirror(found.bboxes, meta.ori_shape, direction), masks=masks)


def _mirror(bboxes: Tensor, shape: tuple[int, int], direction: str) -> Tensor:
    left, top, right, bottom = bboxes.unbind(1)
    if direction in ('horizontal', 'diagonal'):
        left, right = shape[1] - right, shape[1] - left
    if direction in ('vertical', 'diagonal'):
        top, bottom = shape[0] - bottom, shape[0] - top
    return torch.stack([left, top, right, bottom], dim=1)
