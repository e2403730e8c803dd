"""From the top-level keys of 3.x to a recipe."""

from __future__ import annotations

from pathlib import Path

from mmkit.config import Config, ConfigDict
from mmkit.dialects.recipe import Overrides, Recipe, Source
from mmkit.dialects.sections import file_of, find_origin, read_section, wrong
from mmkit.dialects.spellings.models import neutral_model
from mmkit.dialects.unread import describe_unread
from mmkit.dialects.v3.environment import read_environment
from mmkit.dialects.v3.evaluation import read_evaluation, read_metrics, read_precision, read_tta
from mmkit.dialects.v3.hooks import read_test_drawing
from mmkit.dialects.v3.loaders import read_loader
from mmkit.dialects.v3.training import read_training
from mmkit.errors import ConfigError
from mmkit.registry import DETECTORS, located
from mmkit.utils.names import ELSEWHERE, unscoped

# Keys that are read. Other top-level names are building blocks of these, or mistakes.
KNOWN_KEYS = frozenset(
    """
    model data_preprocessor train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg optim_wrapper
    param_scheduler auto_scale_lr default_hooks custom_hooks env_cfg visualizer vis_backends log_processor log_level
    load_from resume randomness val_evaluator test_evaluator work_dir launcher default_scope custom_imports tta_model
    tta_pipeline model_wrapper_cfg experiment_name runner_type find_unused_parameters device device_normalize
    """.split()
)
# Building blocks by custom.
CUSTOMARY_KEYS = frozenset(
    """
    dataset_type data_root backend_args train_dataset train_pipeline test_pipeline weak_pipeline metainfo classes
    num_classes img_scales
    """.split()
)
# What belongs together: all of them are there, or none is.
TRIPLES = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)


def read(cfg: ConfigDict, training: bool = True) -> Recipe:
    """The recipe of a merged config; `cfg` stays as it is.

    Args:
        cfg: a whole config.
        training: read what only a training needs.

    Raises:
        UserError: for values that make no sense, with the key, its file and its line.
    """
    if cfg.get('runner_type', 'Runner') != 'Runner':
        raise wrong(cfg, 'runner_type', f"runner_type is {cfg['runner_type']!r}, expected 'Runner'")
    for triple in TRIPLES:
        _check_complete(cfg, triple)
    model = _model(cfg)  # first: what a detector that is not there needs elsewhere says less than its name
    train, val, test = (read_loader(cfg, split) for split in ('train', 'val', 'test'))
    keys = {'load_from': 'load_from', 'resume_from': 'load_from'}
    keys |= {split: f'{split}_dataloader.dataset' for split in ('train', 'val', 'test')}
    return Recipe(
        model=model,
        train=train,
        val=val,
        test=test,
        training=read_training(cfg, train) if training and cfg.get('train_cfg') is not None else None,
        evaluation=read_evaluation(cfg),
        test_metrics=read_metrics(cfg, 'test_evaluator'),
        test_fp16=read_precision(cfg, 'test_cfg', ('TestLoop',)),
        test_drawing=read_test_drawing(cfg),
        tta=read_tta(cfg),
        environment=read_environment(cfg),
        device_normalize=bool(cfg.get('device_normalize', True)),
        dialect=3,
        name=Path(cfg.filename).name if isinstance(cfg, Config) and cfg.filename else '',
        experiment=cfg.get('experiment_name') or '',
        text=cfg.pretty_text if training and isinstance(cfg, Config) else '',
        unread=tuple(describe_unread(cfg, KNOWN_KEYS, CUSTOMARY_KEYS)),
        sources={name: Source(key, find_origin(cfg, key)) for name, key in keys.items()},
    )


def override(cfg: Config, overrides: Overrides) -> None:
    """Write what the command line says into a config.

    Raises:
        ConfigError: with auto_scale_lr, if the config doesn't say for which batch size its learning rate is.
    """
    if overrides.auto_scale_lr and 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ConfigError(
            f'--auto-scale-lr: {cfg.filename} does not say for which batch size its learning rate is, '
            'add auto_scale_lr=dict(enable=False, base_batch_size=16)'
        )
    options: dict[str, dict[str, object]] = {
        '--work-dir': {'work_dir': overrides.work_dir},
        '--load-from': {'load_from': overrides.load_from, 'resume': False if overrides.load_from else None},
        '--seed': {'randomness.seed': overrides.seed},
        '--deterministic': {'randomness.deterministic': overrides.deterministic or None},
        '--device': {'device': overrides.device},
        '--auto-scale-lr': {'auto_scale_lr.enable': overrides.auto_scale_lr or None},
    }
    if overrides.resume_from:
        options['--resume'] = {'load_from': overrides.resume_from, 'resume': True}
    for source, values in options.items():
        cfg.merge_from_dict({key: value for key, value in values.items() if value is not None}, source=source)
    wrapper = cfg.get('optim_wrapper') or ConfigDict()
    if overrides.amp and unscoped(str(wrapper.get('type', 'OptimWrapper'))) == 'OptimWrapper':
        amp = {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': 'dynamic'}
        cfg.merge_from_dict(amp, source='--amp')
    if overrides.auto_resume:
        cfg.merge_from_dict({'load_from': None, 'resume': True}, source='--auto-resume')


def _model(cfg: ConfigDict) -> ConfigDict | None:
    model = read_section(cfg, 'model')
    if model is None:
        return None
    if unscoped(str(model.get('type'))) in ELSEWHERE:
        with located(model):
            DETECTORS.get(model['type'])
    if 'data_preprocessor' not in model:  # one beside the model is its own; without any, images stay as they are
        shared = cfg.get('data_preprocessor') or ConfigDict(type='DetDataPreprocessor')
        model._put('data_preprocessor', shared, cfg._origins.get('data_preprocessor'))
    neutral = neutral_model(model)
    assert isinstance(neutral, ConfigDict)
    return neutral


def _check_complete(cfg: ConfigDict, triple: tuple[str, ...]) -> None:
    present = [key for key in triple if cfg.get(key) is not None]
    missing = [key for key in triple if key not in present]
    if present and missing:
        message = (
            f'the config has {" and ".join(present)}, but no {" and no ".join(missing)}{file_of(cfg)}: '
            'they go together, either all of them are there or none'
        )
        raise ConfigError(message, present[0], find_origin(cfg, present[0]))
