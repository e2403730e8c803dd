"""Pascal VOC's format: one xml file an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from typing_extensions import Unpack

from mmkit.datasets.custom import CustomDataset, DatasetOptions
from mmkit.errors import InvalidValueError, MissingFileError
from mmkit.protocols import Transform
from mmkit.registry import DATASETS
from mmkit.transforms.images import read_image

VOC_CLASSES = (
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
)


@DATASETS.register_module()
class XMLDataset(CustomDataset):
    """Images with boxes from Pascal VOC's xml. `ann_file` lists the images, one name without suffix a line.

    Objects of other classes are left out, `difficult` ones become ignored boxes.

    Args:
        min_size: also ignore objects with an edge below this, in pixels. Unlike that of `CustomDataset` it is about
            objects.
        img_subdir, ann_subdir: folders of images (jpg) and xml files under `img_prefix`.
        min_image_size: images with a shorter edge are not trained on.
        ann_file, pipeline, options: as in `CustomDataset`.

    Raises:
        InvalidValueError: if neither `classes` nor `CLASSES` of a subclass names classes, or an xml file is broken.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: Sequence[Mapping[str, Any] | Transform],
        min_size: int | None = None,
        img_subdir: str = 'JPEGImages',
        ann_subdir: str = 'Annotations',
        min_image_size: int = 32,
        **options: Unpack[DatasetOptions],
    ) -> None:
        self.min_object_size = min_size or 0
        self.img_subdir = img_subdir
        self.ann_subdir = ann_subdir
        super().__init__(ann_file, pipeline, min_size=min_image_size, **options)

    def load_annotations(self, ann_file: str) -> list[dict[str, Any]]:
        if not self.CLASSES:
            raise InvalidValueError(f'{type(self).__name__} needs classes, or a subclass with CLASSES', key='classes')
        names = [line.split()[0] for line in Path(ann_file).read_text().splitlines() if line.strip()]
        return [self._read(name) for name in names]

    def _read(self, name: str) -> dict[str, Any]:
        path = Path(self.img_prefix) / self.ann_subdir / f'{name}.xml'
        if not path.is_file():
            raise MissingFileError(f'no annotations {path} of image {name!r} in {self.ann_file}', key='ann_file')
        try:
            root = ElementTree.parse(path).getroot()
            filename = self._filename(name, root)
            width, height = self._image_size(root, filename)
            objects = [_Object(element) for element in root.findall('object')]
        except (ElementTree.ParseError, TypeError, ValueError, AttributeError) as error:
            raise InvalidValueError(f'cannot read {path}: {error}', key='ann_file') from error
        return dict(id=name, filename=filename, width=width, height=height, ann=self._middle_format(objects))

    def _filename(self, name: str, root: ElementTree.Element) -> str:
        """Path of an image under `img_prefix`."""
        return f'{self.img_subdir}/{name}.jpg'

    def _image_size(self, root: ElementTree.Element, filename: str) -> tuple[int, int]:
        size = root.find('size')
        if size is not None and int(size.findtext('width', '0')) > 0:
            return int(size.findtext('width', '0')), int(size.findtext('height', '0'))
        height, width = read_image(Path(self.img_prefix) / filename).shape[:2]
        return width, height

    def _middle_format(self, objects: Sequence[_Object]) -> dict[str, Any]:
        labels = {name: label for label, name in enumerate(self.CLASSES or ())}
        chosen = [each for each in objects if each.name in labels]
        ignored = np.array([each.difficult or each.smaller_than(self.min_object_size) for each in chosen], dtype=bool)
        bboxes = np.array([each.bbox for each in chosen], dtype=np.float32).reshape(-1, 4) - 1  # they count from 1
        numbers = np.array([labels[each.name] for each in chosen], dtype=np.int64)
        return dict(
            bboxes=bboxes[~ignored],
            labels=numbers[~ignored],
            bboxes_ignore=bboxes[ignored],
            labels_ignore=numbers[ignored],
        )


class _Object:
    """An `object` element."""

    def __init__(self, element: ElementTree.Element) -> None:
        self.name = element.findtext('name', '').strip()
        self.difficult = bool(int(element.findtext('difficult') or 0))
        box = element.find('bndbox')
        if box is None:
            raise ValueError(f'object {self.name!r} has no bndbox')
        # some files have fractions of pixels
        self.bbox = [int(float(box.findtext(key, ''))) for key in ('xmin', 'ymin', 'xmax', 'ymax')]

    def smaller_than(self, size: int) -> bool:
        return min(self.bbox[2] - self.bbox[0], self.bbox[3] - self.bbox[1]) < size


@DATASETS.register_module()
class VOCDataset(XMLDataset):
    """Pascal VOC 2007 and 2012, told apart by `VOC2007` or `VOC2012` in `img_prefix`.

    AP is the mean over 11 recall points for 2007, the area under the curve otherwise; boxes include their last pixel.
    """

    CLASSES = VOC_CLASSES

    def metric_config(self) -> dict[str, Any]:
        mode = '11points' if 'VOC2007' in self.img_prefix else 'area'
        return {'type': 'VOCMetric', 'eval_mode': mode, 'use_legacy_coordinate': True}


@DATASETS.register_module()
class WIDERFaceDataset(XMLDataset):
    """WIDER FACE (arXiv:1511.06523) in Pascal VOC's format; an xml file names the folder of its image."""

    CLASSES = ('face',)
    PALETTE = ((0, 255, 0),)

    def _filename(self, name: str, root: ElementTree.Element) -> str:
        return f'{root.findtext("folder", "").strip()}/{name}.jpg'
