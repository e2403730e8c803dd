"""Evaluations: `val_evaluator`, `test_evaluator`, their loops, and test-time augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import EvaluationRecipe, TTARecipe
from mmkit.dialects.sections import check_keys, check_numbers, find_origin, read_section, require_whole, wrong
from mmkit.dialects.spellings import METRICS, TRANSFORMS, read_v3
from mmkit.dialects.spellings.spelling import show_as
from mmkit.dialects.test_time import merged_by_default
from mmkit.dialects.v3.hooks import read_default_hook
from mmkit.dialects.v3.loops import counts_iterations, read_train_loop
from mmkit.dialects.v3.optim_wrapper import is_mixed_precision
from mmkit.errors import ConfigError, InvalidTypeError
from mmkit.utils.names import unscoped

TWO_BRANCHES = 'TeacherStudentValLoop'
# Arguments of the checkpoint hook that decide which checkpoint is the best: an evaluation does that here.
BEST_KEYS = ('save_best', 'rule', 'greater_keys', 'less_keys')


def read_evaluation(cfg: ConfigDict) -> EvaluationRecipe | None:
    """Evaluation during a training; None if the config has none.

    Raises:
        UserError: for an unknown key, or a value that makes no sense.
    """
    metrics = read_metrics(cfg, 'val_evaluator')
    is_half = read_precision(cfg, 'val_cfg', ('ValLoop', TWO_BRANCHES))
    if cfg.get('val_evaluator') is None:
        return None
    schedule = ConfigDict(interval=1, by_epoch=True)
    loop = read_train_loop(cfg)
    if loop is not None:
        schedule = ConfigDict(
            interval=require_whole(cfg, 'train_cfg.val_interval', loop.get('val_interval', 1)),
            by_epoch=not counts_iterations(loop),
            begin=require_whole(cfg, 'train_cfg.val_begin', loop.get('val_begin', 1)),
            at_end=True,
        )
        if is_half != is_mixed_precision(cfg):  # or else it is as in the training
            schedule['fp16'] = is_half
        if unscoped(str(cfg.val_cfg.get('type'))) == TWO_BRANCHES:
            schedule['branches'] = ('teacher', 'student')
        if loop.get('dynamic_intervals'):
            # in 3.x they decide about the evaluation before
            schedule['dynamic_intervals'] = [(begin - 1, interval) for begin, interval in loop['dynamic_intervals']]
    checkpoint = read_default_hook(cfg, 'checkpoint') or ConfigDict()
    for key in BEST_KEYS:
        if key in checkpoint:
            schedule._put(key, checkpoint[key], checkpoint._origins.get(key))
            show_as(schedule, {key: checkpoint._path_of(key)})
    if schedule.get('save_best') is not None and checkpoint.get('out_dir') is not None:
        schedule._put('out_dir', checkpoint['out_dir'], checkpoint._origins.get('out_dir'))
    return EvaluationRecipe(schedule=schedule, metrics=metrics)


def read_metrics(cfg: ConfigDict, key: str) -> tuple[ConfigDict, ...]:
    """The metrics of `val_evaluator` or `test_evaluator`: one, a list of them, or an `Evaluator` with `metrics`.

    Raises:
        UserError: for another evaluator, or something else than metrics.
    """
    value = cfg.get(key)
    if isinstance(value, ConfigDict) and 'metrics' in value:
        kind = unscoped(str(value.get('type', 'Evaluator')))
        if kind != 'Evaluator':
            message = f"{key} is of the type {kind!r}, which is not available: expected metrics, or 'Evaluator'"
            raise wrong(cfg, f'{key}.type', message)
        check_keys(cfg, key, value, ('type', 'metrics'))
        value = value['metrics']
    metrics = list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]
    if not all(isinstance(metric, ConfigDict) and 'type' in metric for metric in metrics):
        message = f'{key} is {value!r}, expected a dict with type, or a list of them'
        raise wrong(cfg, key, message, InvalidTypeError)
    return tuple(read_v3(metric, METRICS) for metric in metrics)


def read_precision(cfg: ConfigDict, key: str, kinds: Sequence[str]) -> bool:
    """True if `val_cfg` or `test_cfg` asks for half precision.

    Raises:
        UserError: for another loop than these kinds, or an unknown key.
    """
    loop = read_section(cfg, key)
    if loop is None:
        return False
    found = unscoped(str(loop.get('type', kinds[0])))
    if found not in kinds:
        message = f'{key}.type is {found!r}, which is not available: expected {" or ".join(map(repr, kinds))}'
        raise wrong(cfg, f'{key}.type', message)
    check_keys(cfg, key, loop, ('type', 'fp16'))
    return bool(loop.get('fp16', False))


def read_tta(cfg: ConfigDict) -> TTARecipe | None:
    """Test-time augmentation: `tta_model` and `tta_pipeline`.

    Raises:
        UserError: for another model than DetTTAModel, an unknown key, or `tta_model` alone.
    """
    model = check_numbers(read_section(cfg, 'tta_model'))
    pipeline = cfg.get('tta_pipeline')
    if model is None:
        return None if pipeline is None else merged_by_default(read_v3(pipeline, TRANSFORMS))
    if pipeline is None:
        message = 'the config has tta_model, but no tta_pipeline'
        raise ConfigError(message, 'tta_model', find_origin(cfg, 'tta_model'))
    if unscoped(str(model.get('type'))) != 'DetTTAModel':
        message = f"tta_model.type is {model.get('type')!r}, expected 'DetTTAModel'"
        raise wrong(cfg, 'tta_model.type', message)
    check_keys(cfg, 'tta_model', model, ('type', 'tta_cfg', 'data_preprocessor'))
    settings = model.get('tta_cfg')
    settings = settings if isinstance(settings, Mapping) else ConfigDict()
    check_keys(cfg, 'tta_model.tta_cfg', settings, ('nms', 'max_per_img'))
    return TTARecipe(read_v3(pipeline, TRANSFORMS), settings.get('nms'), settings.get('max_per_img'))
