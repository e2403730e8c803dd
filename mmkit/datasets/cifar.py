"""CIFAR, 32 x 32 pixels, from the archives for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmkit.datasets.annotations import read_classes
from mmkit.datasets.classification import ClassificationDataset
from mmkit.errors import InvalidValueError, MissingFileError
from mmkit.protocols import Transform
from mmkit.registry import DATASETS
from mmkit.utils.pickles import load_arrays


@DATASETS.register_module()
class CIFAR10(ClassificationDataset):
    """60000 images of 10 classes (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

    Images are RGB arrays: the pipeline has no `LoadImageFromFile`, and `Normalize` has `to_rgb=False`. Nothing is
    downloaded, and nothing in the files is executed.

    Args:
        data_prefix: where `cifar-10-batches-py` lies, the folder in cifar-10-python.tar.gz.
        pipeline: transforms, configs or callables.
        classes: names instead of those in the archive: as many, a sequence or a file with one a line.
        test_mode: the images for tests instead of those for training.

    Raises:
        MissingFileError: if a file of the archive is missing.
        InvalidValueError: if it holds something else, or there are more or fewer names than classes.
    """

    archive = 'cifar-10-python.tar.gz'
    folder = 'cifar-10-batches-py'
    train_files: ClassVar[tuple[str, ...]] = tuple(f'data_batch_{number}' for number in range(1, 6))
    test_files: ClassVar[tuple[str, ...]] = ('test_batch',)
    names_file, names_key, labels_key = 'batches.meta', 'label_names', 'labels'

    def __init__(
        self,
        data_prefix: str,
        pipeline: Sequence[Mapping[str, Any] | Transform],
        classes: str | Sequence[str] | None = None,
        test_mode: bool = False,
    ) -> None:
        root = Path(data_prefix) / self.folder
        (own,) = self._read(root / self.names_file, self.names_key)
        names = read_classes(classes, own) or ()
        if len(names) != len(own):
            raise InvalidValueError(
                f'{type(self).__name__} has {len(own)} classes, got {len(names)} names', key='classes'
            )
        batches = [self._batch(root / name) for name in (self.test_files if test_mode else self.train_files)]
        labels = np.concatenate([labels for _, labels in batches])
        super().__init__(str(root), labels, names, pipeline, test_mode)
        self.images = np.concatenate([images for images, _ in batches])  # (N, 32, 32, 3) uint8

    def _batch(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = (np.asarray(value) for value in self._read(path, 'data', self.labels_key))
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3 * 32 * 32):
            message = f'{path}: data is {pixels.dtype} {pixels.shape}, expected uint8 ({len(labels)}, 3072)'
            raise InvalidValueError(message, key='data_prefix')
        return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels

    def _read(self, path: Path, *keys: str) -> list[Any]:
        """The values of some keys of a file."""
        if not path.is_file():
            kind = type(self).__name__
            message = f'no file {path}: unpack {self.archive} in {path.parent.parent} (data_prefix of {kind})'
            raise MissingFileError(message, key='data_prefix')
        content = load_arrays(path)
        if not isinstance(content, dict) or not set(keys) <= content.keys():
            raise InvalidValueError(f'{path} lacks some of {keys}: is it of {self.archive}?', key='data_prefix')
        return [content[key] for key in keys]

    def start(self, index: int) -> dict[str, Any]:
        img = self.images[index]
        name = f'{self.folder}/{"test" if self.test_mode else "train"}/{index}'  # of no file, for messages
        return dict(
            img=img.copy(),
            img_fields=['img'],
            img_info={'id': index, 'filename': name},
            filename=name,
            ori_filename=name,
            img_shape=img.shape,
            ori_shape=img.shape,
        )


@DATASETS.register_module()
class CIFAR100(CIFAR10):
    """60000 images of 100 classes; `data_prefix` is where `cifar-100-python` lies. The rest is as in `CIFAR10`."""

    archive = 'cifar-100-python.tar.gz'
    folder = 'cifar-100-python'
    train_files = ('train',)
    test_files = ('test',)
    names_file, names_key, labels_key = 'meta', 'fine_label_names', 'fine_labels'
