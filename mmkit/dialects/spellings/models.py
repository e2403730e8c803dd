"""Spellings of detectors and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmkit.config import ConfigDict
from mmkit.dialects.spellings.queries import QUERIES
from mmkit.dialects.spellings.spelling import Spelling, read_v3
from mmkit.utils.names import ELSEWHERE, unscoped


def _with_flags(flags: Mapping[str, str]) -> Spelling:
    """A detector for whose `test_cfg` a flag of mmkit says what a setting means.

    Args:
        flags: by setting; a flag is True for 3.x, whose configs don't have it, and False where it is missing otherwise.
    """

    def refine(cfg: ConfigDict) -> ConfigDict:
        return _mark(cfg, reading=True)

    def restore(cfg: ConfigDict) -> ConfigDict:
        return _mark(cfg, reading=False)

    def _mark(cfg: ConfigDict, reading: bool) -> ConfigDict:
        test_cfg = cfg.get('test_cfg')
        if not isinstance(test_cfg, ConfigDict):
            return cfg
        for setting, flag in flags.items():
            # One side never writes True down, the other never writes False down.
            if test_cfg.pop(flag, reading) == reading and setting in test_cfg:
                test_cfg._put(flag, reading, None)
        return cfg

    return Spelling(refine=refine, restore=restore)


# Detectors with one dense head, whose `test_cfg` is that of the head.
_DENSE = """
    SingleStageDetector ATSS AutoAssign BoxInst CenterNet CondInst DDOD FCOS FOVEA FSAF GFL
    KnowledgeDistillationSingleStageDetector LAD NASFCOS PAA RepPointsDetector RetinaNet TOOD VFNet YOLOF
""".split()
_STRICT = _with_flags({'min_bbox_size': 'strict_min_size'})


def _write_yolox(cfg: ConfigDict) -> ConfigDict:
    """In 3.x training on changing sizes is the data preprocessor's."""
    sizes, divisor = cfg.pop('random_size_range'), cfg.pop('size_multiplier', 32)
    interval, preprocessor = cfg.pop('random_size_interval', 10), cfg.get('data_preprocessor')
    cfg.pop('input_size', None)
    if sizes is not None and isinstance(preprocessor, ConfigDict):
        edges = [divisor * size for size in sizes]
        resize = dict(type='BatchSyncRandomResize', random_size_range=edges, interval=interval, size_divisor=divisor)
        preprocessor['batch_augments'] = [resize]
    return cfg if _STRICT.restore is None else _STRICT.restore(cfg)


MODELS: Mapping[str, Spelling] = {
    **dict.fromkeys(_DENSE, _STRICT),
    'YOLOX': replace(_STRICT, defaults={'random_size_range': (None, (15, 25))}, restore=_write_yolox),
    **dict.fromkeys(
        ('DetDataPreprocessor', 'BoxInstDataPreprocessor'),
        # boxes are tensors in any case, and copies never wait
        Spelling(unused={'boxtype2tensor': (True,), 'non_blocking': (False, True)}),
    ),
    'YOLOV3': _with_flags({'min_bbox_size': 'strict_min_size', 'nms_pre': 'limit_candidates'}),
    'RPN': Spelling(defaults={'head_name': ('bbox_head', 'rpn_head')}),
    'FusedSemanticHead': Spelling(defaults={'seg_scale_factor': (1 / 8, 1)}),
    'HybridTaskCascadeRoIHead': Spelling(defaults={'averages_masks': (False, True)}),
    **QUERIES,
}


def is_v3_model(model: Mapping[str, Any]) -> bool:
    """True for the config of a model of 3.x: it has a data preprocessor that is not one of mmkit's own."""
    preprocessor = model.get('data_preprocessor')
    if not isinstance(preprocessor, Mapping):
        return False
    return unscoped(str(preprocessor.get('type', 'DetDataPreprocessor'))) != 'DataPreprocessor'


def neutral_model(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of a model in the neutral spelling; one of 2.x is returned as it is."""
    # a detector that is not there is named by the registry, whatever its parts are
    if not is_v3_model(model) or unscoped(str(model.get('type'))) in ELSEWHERE:
        return model
    neutral: Mapping[str, Any] = read_v3(model, MODELS)
    return neutral
