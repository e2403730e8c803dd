"""The dataset under all detection datasets: images and boxes in mmdetection's middle format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from mmkit.datasets.annotations import (
    chosen_images,
    complete_ann,
    count_classes,
    has_objects,
    middle_truth,
    read_classes,
)
from mmkit.datasets.packed import PackedList
from mmkit.datasets.partners import MixTransform, chooser, chosen_partners
from mmkit.datasets.proposals import load_proposals
from mmkit.datasets.replacements import Replacements
from mmkit.datasets.seeded import SeededDataset
from mmkit.errors import BrokenDataError, InvalidTypeError, InvalidValueError, MissingFileError
from mmkit.evaluation import DetectionTruth
from mmkit.protocols import Transform
from mmkit.registry import DATASETS
from mmkit.transforms.compose import Compose
from mmkit.transforms.loading import LoadAnnotations
from mmkit.utils.files import check_disk
from mmkit.utils.logging import get_logger
from mmkit.utils.names import first_of

logger = get_logger('mmkit.datasets')


class DatasetOptions(TypedDict, total=False):
    """Arguments of `CustomDataset`, which has their defaults, that other formats share."""

    classes: str | Sequence[str] | None
    data_root: str | None
    img_prefix: str | None
    seg_prefix: str | None
    seg_suffix: str
    proposal_file: str | None
    test_mode: bool
    filter_empty_gt: bool
    file_client_args: Mapping[str, Any] | None
    max_broken: int
    palette: Sequence[Sequence[int]] | None
    indices: int | Sequence[int] | None
    max_refetch: int


@DATASETS.register_module()
class CustomDataset(SeededDataset):
    """Images with boxes, from a json file in the middle format: a list of

        {"filename": "a.jpg", "width": 1280, "height": 720,
         "ann": {"bboxes": [[x1, y1, x2, y2], ...], "labels": [0, ...], "bboxes_ignore": [...], "masks": [...]}}

    with everything after `labels` optional. A subclass that reads another format overrides `load_annotations`.

    Args:
        ann_file: the annotations.
        pipeline: transforms, configs or callables.
        classes: names of the labels: a sequence, or a file with one a line; None for `CLASSES` of the class.
        data_root: folder to which the paths are relative.
        img_prefix, seg_prefix: folders of images and semantic maps.
        seg_suffix: of the file names of semantic maps.
        proposal_file: boxes of another detector, see `load_proposals`.
        test_mode: every image once, unfiltered, in the order of the file.
        filter_empty_gt: train on images with objects only.
        file_client_args: dict(backend='disk').
        min_size: images with a shorter edge are not trained on.
        max_broken: so many unreadable images are replaced by others in training before it stops.
        palette: RGB of each label, for drawings; None for `PALETTE` of the class.
        indices: use the first so many images only, with a negative number the last ones, or those at these positions;
            of the images that are left after filtering.
        max_refetch: images that are drawn in the place of an unusable one until it is given up.

    Raises:
        MissingFileError: if there is no such annotation file.
        InvalidValueError: if there is nothing to train on.
    """

    _truth: DetectionTruth | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if 'load_data_list' in vars(cls):  # nothing would call it
            message = (
                f'{cls.__name__} overrides load_data_list, which is load_annotations(self, ann_file) here: '
                'it returns the list of images in the middle format, see the docstring of CustomDataset'
            )
            raise InvalidTypeError(message)

    def __init__(
        self,
        ann_file: str,
        pipeline: Sequence[Mapping[str, Any] | Transform],
        classes: str | Sequence[str] | None = None,
        data_root: str | None = None,
        img_prefix: str | None = '',
        seg_prefix: str | None = None,
        seg_suffix: str = '.png',
        proposal_file: str | None = None,
        test_mode: bool = False,
        filter_empty_gt: bool = True,
        file_client_args: Mapping[str, Any] | None = None,
        min_size: int = 32,
        max_broken: int = 10,
        palette: Sequence[Sequence[int]] | None = None,
        indices: int | Sequence[int] | None = None,
        max_refetch: int = 100,
    ) -> None:
        super().__init__()
        check_disk(file_client_args)
        if not isinstance(ann_file, (str, Path)):
            raise InvalidTypeError(f'ann_file is the path of the annotations, got {ann_file!r}', key='ann_file')
        self.ann_file = str(Path(data_root or '') / ann_file)
        self.img_prefix = str(Path(data_root or '') / (img_prefix or ''))
        self.seg_prefix = None if seg_prefix is None else str(Path(data_root or '') / seg_prefix)
        self.seg_suffix = seg_suffix
        self.proposal_file = None if proposal_file is None else str(Path(data_root or '') / proposal_file)
        self.test_mode = test_mode
        self.CLASSES = read_classes(classes, type(self).CLASSES)
        self.PALETTE = type(self).PALETTE if palette is None else palette
        self.pipeline = Compose(pipeline)  # before the annotations, whose reading may take a minute
        if not Path(self.ann_file).is_file():
            raise MissingFileError(f'no annotation file {self.ann_file}', key='ann_file')

        images = self.load_annotations(self.ann_file)
        if self.proposal_file is not None:
            proposals = load_proposals(self.proposal_file, [image.get('id') for image in images])
            images = [{**image, 'proposals': rows} for image, rows in zip(images, proposals)]
        self._report(images)
        if not test_mode:
            self._check_masks(images)
            images = self._trainable(images, min_size, filter_empty_gt)
        if indices is not None:
            images = chosen_images(images, indices)
            self._truth = None  # that of all images
        self.images = PackedList(images)
        self.img_ids = [image.get('id', number) for number, image in enumerate(images)]
        self.flag = np.array([image['width'] > image['height'] for image in images], dtype=np.uint8)
        self._replacements = Replacements(self.ann_file, len(images), max_broken, max_refetch)

    def load_annotations(self, ann_file: str) -> list[dict[str, Any]]:
        """The images of the file in the middle format; `id`, if there is one, identifies an image in results."""
        return list(json.loads(Path(ann_file).read_text()))

    @property
    def data_infos(self) -> PackedList:
        """`images`, under the name that scripts for mmdetection use."""
        return self.images

    def __len__(self) -> int:
        return len(self.images)

    def set_pipeline(self, pipeline: Sequence[Mapping[str, Any] | Transform]) -> None:
        """Make samples by these transforms from the next epoch on, in workers that start after this."""
        self.pipeline = Compose(pipeline)

    def get_ann_info(self, index: int) -> dict[str, Any]:
        """bboxes (N, 4), labels (N,), bboxes_ignore (K, 4) of image `index`, and what else the file has."""
        return complete_ann(self.images[index].get('ann', {}))

    def get_cat_ids(self, index: int) -> list[int]:
        return [int(label) for label in self.get_ann_info(index)['labels']]

    def get(self, index: int, rng: np.random.Generator) -> Any:
        """Sample `index`; in training another one of its group where the image is broken or the pipeline gives None.

        Raises:
            BrokenDataError: if more than `max_broken` images are broken, or none is of use.
        """
        return self._run(index, rng) if self.test_mode else self._usable(index, rng)

    def _usable(self, index: int, rng: np.random.Generator, end: int | None = None) -> Any:
        """The sample of an image after the pipeline or its first `end` steps; or of another in its place."""
        sample = self._replacements.first_usable(index, rng, self.groups(), lambda i: self._run(i, rng, end))
        if sample is None:
            raise BrokenDataError(
                f'no usable sample in {self._replacements.max_tries} tries from {self.ann_file}: '
                f'{self.images[index]["filename"]!r} and the images drawn instead of it are broken, '
                f'or {self.pipeline} gives None for them'
            )
        return sample

    def _run(self, index: int, rng: np.random.Generator, end: int | None = None) -> Any:
        """The pipeline, or its first `end` steps; images that a step mixes in have gone through the steps before it."""
        steps, start = self.pipeline.transforms[:end], 0
        sample: Any = self._start(index, rng)
        for number, step in enumerate(steps):
            if isinstance(step, MixTransform):
                sample = Compose(steps[start:number])(sample)
                if sample is None:
                    return None
                others = chosen_partners(chooser(step), self, rng)
                sample['mix_results'] = [self._usable(other, rng, number) for other in others]
                start = number
        return Compose(steps[start:])(sample)

    def _start(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """The dict that the pipeline begins with."""
        image = self.images[index]
        image.setdefault('id', index)
        ann = complete_ann(image.pop('ann', {}))
        ann.setdefault('seg_map', str(Path(image['filename']).with_suffix(self.seg_suffix)))
        sample = dict(
            img_info=image,
            ann_info=ann,
            img_prefix=self.img_prefix,
            seg_prefix=self.seg_prefix,
            proposal_file=self.proposal_file,
            bbox_fields=[],
            mask_fields=[],
            seg_fields=[],
            rng=rng,
        )
        if 'proposals' in image:
            sample['proposals'] = image.pop('proposals')
        return sample

    def _report(self, images: Sequence[Mapping[str, Any]]) -> None:
        """Log the table of images and boxes of every class.

        Raises:
            InvalidValueError: in training, if no box is of any of the classes.
        """
        num_boxes, table = count_classes(self.ann_file, images, self.CLASSES)
        if not self.test_mode and not num_boxes:
            message = f'{self.ann_file}: no annotation of the classes {self.CLASSES} in {len(images)} images'
            raise InvalidValueError(message, key='ann_file')
        kind = type(self).__name__
        logger.info('%s %s: %d images, %d boxes\n%s', kind, self.ann_file, len(images), num_boxes, table)
        seen = {int(label) for image in images for label in image.get('ann', {}).get('labels', ())}
        unseen = [name for label, name in enumerate(self.CLASSES or ()) if label not in seen]
        if unseen and not self.test_mode:
            listed = first_of(unseen, 10)
            logger.warning('%s has no box of %d of the classes: %s', self.ann_file, len(unseen), listed)

    def _check_masks(self, images: Sequence[Mapping[str, Any]]) -> None:
        """Objects without a mask would teach a mask head that there is nothing to see.

        Raises:
            InvalidValueError: if the pipeline loads masks and no object has one.
        """
        if not any(isinstance(step, LoadAnnotations) and step.with_mask for step in self.pipeline.transforms):
            return
        anns = [image.get('ann', {}) for image in images]
        num_boxes = sum(len(ann.get('bboxes', ())) for ann in anns)
        num_masks = sum(bool(len(mask)) for ann in anns for mask in ann.get('masks', ()))
        if not num_masks:
            raise InvalidValueError(
                f'{self.ann_file}: none of its {num_boxes} boxes has a mask (segmentation), '
                'and LoadAnnotations(with_mask=True) asks for them: train a model of boxes, or add polygons',
                key='ann_file',
            )
        if num_masks < num_boxes:
            logger.warning('%s: %d of %d boxes have no mask', self.ann_file, num_boxes - num_masks, num_boxes)

    def _trainable(self, images: list[dict[str, Any]], min_size: int, filter_empty_gt: bool) -> list[dict[str, Any]]:
        large = [image for image in images if min(image['width'], image['height']) >= min_size]
        kept = [image for image in large if not filter_empty_gt or has_objects(image)]
        if len(kept) < len(images):
            logger.info(
                '%d images for training: left out %d without objects and %d with an edge below %d pixels',
                len(kept),
                len(large) - len(kept),
                len(images) - len(large),
                min_size,
            )
        if not kept:
            message = f'{self.ann_file}: none of its {len(images)} images is left to train on'
            raise InvalidValueError(message, key='ann_file')
        return kept

    def truth(self) -> DetectionTruth:
        """Ground truth of all images, read once."""
        if self._truth is None:
            self._truth = self._read_truth()
        return self._truth

    def truth_in(self, ann_file: str) -> DetectionTruth:
        if Path(ann_file).resolve() == Path(self.ann_file).resolve():
            return self.truth()
        kind = type(self).__name__
        message = f'a {kind} is evaluated by its own ann_file, {self.ann_file}, and not by {ann_file}: leave it out'
        raise InvalidValueError(message, key='ann_file')

    def _read_truth(self) -> DetectionTruth:
        anns = [self.get_ann_info(index) for index in range(len(self))]
        sizes = [(image['height'], image['width']) for image in self.images]
        return middle_truth(self.ann_file, self.CLASSES or (), self.img_ids, sizes, anns)

    def metric_config(self) -> dict[str, Any]:
        return {'type': 'VOCMetric'}
