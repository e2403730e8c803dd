"""The ends of the pipelines of mmdetection 3.x: samples whose images the model normalises."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.protocols import Transform
from mmkit.registry import TRANSFORMS
from mmkit.structures import Sample, UnlabelledSample
from mmkit.transforms.compose import Compose
from mmkit.transforms.formatting import SAMPLE_KEYS, Collect, DefaultFormatBundle, check_keys
from mmkit.transforms.randomness import rng_of

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
# What an `ImageMeta` holds, by the names of 3.x.
KNOWN_META_KEYS = (*META_KEYS, 'pad_shape', 'batch_input_shape', 'homography_matrix', 'border')
Branch = Mapping[str, Any] | Sequence[Mapping[str, Any] | Transform]


@TRANSFORMS.register_module()
class PackDetInputs:
    """Makes a `Sample` of the image and of all the truth there is; there are no dicts behind it.

    Pixels stay as they are, uint8 unless a transform has made them float: the data preprocessor of the model normalises
    and pads them.

    Args:
        meta_keys: fields of `ImageMeta` by their names in 3.x; it always has all of them, whatever is named here.

    Raises:
        InvalidValueError: for another name.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        check_keys('PackDetInputs', 'meta_keys', meta_keys, KNOWN_META_KEYS)
        self.format = DefaultFormatBundle(img_to_float=False)

    def __call__(self, sample: dict[str, Any]) -> Sample:
        sample = self.format(sample)
        return Collect([key for key in SAMPLE_KEYS if key in sample])(sample)


@TRANSFORMS.register_module()
class MultiBranch:
    """Semi-supervised training: `sup` ends the pipeline of labelled images, the other two that of unlabelled ones.

    Args:
        branch_field: names of all branches of a training.
        sup: transforms of the labelled images, which give a `Sample`.
        unsup_teacher, unsup_student: transforms of two views of one image, which give an `UnlabelledSample`.

    Raises:
        InvalidValueError: unless there is either `sup` or both of the others.
    """

    def __init__(
        self,
        branch_field: Sequence[str],
        sup: Branch | None = None,
        unsup_teacher: Branch | None = None,
        unsup_student: Branch | None = None,
    ) -> None:
        check_keys('MultiBranch', 'branch_field', branch_field, ('sup', 'unsup_teacher', 'unsup_student'))
        if (unsup_teacher is None) != (unsup_student is None) or (sup is None) == (unsup_teacher is None):
            raise InvalidValueError('MultiBranch needs sup, or unsup_teacher and unsup_student', key='branch_field')
        self.sup = None if sup is None else Compose(_as_list(sup))
        self.views = (Compose(_as_list(unsup_teacher)), Compose(_as_list(unsup_student)))

    def __call__(self, sample: dict[str, Any]) -> Sample | UnlabelledSample | None:
        if self.sup is not None:
            labelled: Sample | None = self.sup(sample)
            return labelled
        rng = rng_of(sample)
        first, second = (view(copy.deepcopy(sample, {id(rng): rng})) for view in self.views)
        if first is None or second is None:
            return None
        if not isinstance(first, Sample) or not isinstance(second, Sample):
            raise InvalidTypeError('the branches of MultiBranch end with PackDetInputs')
        return UnlabelledSample(teacher=first, student=second)


def _as_list(transforms: Branch | None) -> Sequence[Mapping[str, Any] | Transform]:
    if transforms is None or isinstance(transforms, Mapping):
        return [] if transforms is None else [transforms]
    return transforms
