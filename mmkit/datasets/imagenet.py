"""A folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.datasets.annotations import read_classes
from mmkit.datasets.classification import ClassificationDataset
from mmkit.datasets.packed import PackedList
from mmkit.errors import InvalidValueError, MissingFileError
from mmkit.protocols import Transform
from mmkit.registry import DATASETS
from mmkit.utils.files import check_disk
from mmkit.utils.names import first_of

IMG_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


@DATASETS.register_module()
class ImageNet(ClassificationDataset):
    """Images in a folder for each class, or listed in a file: ImageNet's layouts, with images of your own as well.

    Without `ann_file`, `data_prefix` has a folder for each class; sorted, they have the labels 0, 1, ...; images may
    lie in folders deeper down. What starts with a dot is passed over.

    Args:
        data_prefix: the folder.
        pipeline: transforms, configs or callables.
        classes: names of the labels: a sequence, or a file with one a line. Names of the folders must be all of them,
            in their order; other names rename them. None: the folders' names, or, with `ann_file`, the numbers in
            training and none in a test.
        ann_file: lines `path label`, the path under `data_prefix`, the label from 0.
        extensions: of images, in lower case; other files in the folders are passed over.
        test_mode: every image once; a broken one is an error. In training it is replaced.
        file_client_args: dict(backend='disk').
        max_broken: so many unreadable images are replaced by others in training before it stops.

    Raises:
        MissingFileError: if there is no such folder or file.
        InvalidValueError: if a folder or the file has no image, a line has another form, or names and folders differ.
    """

    def __init__(
        self,
        data_prefix: str,
        pipeline: Sequence[Mapping[str, Any] | Transform],
        classes: str | Sequence[str] | None = None,
        ann_file: str | None = None,
        extensions: Sequence[str] = IMG_EXTENSIONS,
        test_mode: bool = False,
        file_client_args: Mapping[str, Any] | None = None,
        max_broken: int = 10,
    ) -> None:
        check_disk(file_client_args)
        names = read_classes(classes, None)
        if ann_file is None:
            folders = find_folders(data_prefix)
            check_folder_names(names, folders, data_prefix)
            names = names or folders
            samples = find_images(data_prefix, folders, tuple(extensions))
        else:
            samples = read_samples(ann_file)
            if names is None and not test_mode:
                names = tuple(str(label) for label in range(max((label for _, label in samples), default=-1) + 1))
        labels = np.array([label for _, label in samples], dtype=np.int64)
        super().__init__(ann_file or data_prefix, labels, names, pipeline, test_mode, max_broken)
        self.data_prefix = data_prefix
        self.filenames = PackedList([filename for filename, _ in samples])

    def start(self, index: int) -> dict[str, Any]:
        return {'img_prefix': self.data_prefix, 'img_info': {'id': index, 'filename': self.filenames[index]}}


def find_folders(root: str) -> tuple[str, ...]:
    """Names of the folders in `root`, sorted: the classes.

    Raises:
        MissingFileError: if there is no `root`. InvalidValueError: if it has no folders.
    """
    if not Path(root).is_dir():
        raise MissingFileError(f'no folder {root} (ImageNet.data_prefix)', key='data_prefix')
    folders = tuple(sorted(path.name for path in Path(root).iterdir() if path.is_dir() and path.name[0] != '.'))
    if not folders:
        message = f'{root} has no folders: ImageNet expects one for each class, or an ann_file'
        raise InvalidValueError(message, key='data_prefix')
    return folders


def check_folder_names(names: Sequence[str] | None, folders: Sequence[str], root: str) -> None:
    """Names that are the folders' in another order would silently swap classes."""
    if names is None or list(names) == list(folders):
        return
    given, there = first_of(names, 5), first_of(folders, 5)
    if len(names) != len(folders):
        message = f'{len(names)} classes {given} for the {len(folders)} folders {there} in {root}'
        raise InvalidValueError(message, key='classes')
    if set(names) == set(folders):
        raise InvalidValueError(
            f'classes {given} are the folders of {root} in another order; labels follow the sorted folders: '
            'leave classes out',
            key='classes',
        )
    if set(names) & set(folders):
        unknown = first_of(sorted(set(names) - set(folders)), 5)
        raise InvalidValueError(f'{root} has no folder of the classes {unknown}; it has {there}', key='classes')


def find_images(root: str, folders: Sequence[str], extensions: tuple[str, ...]) -> list[tuple[str, int]]:
    """(path under `root`, label) of every image, folder by folder, sorted.

    Raises:
        InvalidValueError: if a folder has none.
    """
    samples: list[tuple[str, int]] = []
    for label, folder in enumerate(folders):
        paths = []
        for parent, inner, files in os.walk(Path(root) / folder, followlinks=True):
            inner[:] = [name for name in inner if name[0] != '.']
            below = Path(parent).relative_to(root)
            paths += [str(below / file) for file in files if file.lower().endswith(extensions) and file[0] != '.']
        if not paths:
            message = f'no image in the class folder {Path(root) / folder}; extensions are {extensions}'
            raise InvalidValueError(message, key='data_prefix')
        samples += [(filename, label) for filename in sorted(paths)]
    return samples


def read_samples(ann_file: str) -> list[tuple[str, int]]:
    """(path, label) of every line.

    Raises:
        MissingFileError: if there is no such file. InvalidValueError: with the number of a line that is something else.
    """
    if not Path(ann_file).is_file():
        raise MissingFileError(f'no annotation file {ann_file}', key='ann_file')
    samples = []
    for number, line in enumerate(Path(ann_file).read_text().splitlines(), 1):
        parts = line.strip().rsplit(None, 1)  # there may be blanks in the path
        if not parts:
            continue
        if len(parts) != 2 or not parts[1].isdecimal():
            message = f'{ann_file}:{number}: expected a path and a label from 0, got {line!r}'
            raise InvalidValueError(message, key='ann_file')
        samples.append((parts[0], int(parts[1])))
    return samples
