"""How much of a folder of 3.x configs can be built: models, and whole runs without their data.

    python tools/dev/zoo3.py .mim/configs --list

The folder is that of the wheel of mmdetection 3.x, `mmdet/.mim/configs`. Of every config with a model the model is
built, on torch's meta device, and everything of its recipe that needs no data: transforms, samplers, hooks, loggers,
the optimizer's type and metrics. A config counts as whole if all of that can be built. Names of datasets and their
arguments are checked. The rest is refused with a message that names the first type or argument that is missing.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import mmkit.apis  # noqa: F401 - registers everything
from mmkit.config import Config, ConfigDict
from mmkit.dialects import Recipe, neutral_model, read_recipe
from mmkit.errors import UserError, summary
from mmkit.models import build_neutral_model
from mmkit.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    METRICS,
    OPTIMIZER_BUILDERS,
    OPTIMIZERS,
    RUNNERS,
    TRANSFORMS,
    check_arguments,
)


@dataclass
class Count:
    """Number of configs, of models and of whole runs that can be built, and why the others cannot."""

    configs: int = 0
    models: int = 0
    whole: int = 0
    unread: int = 0
    reasons: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='of the configs')
    parser.add_argument('--list', action='store_true', help='the reasons, most frequent first, with their configs')
    args = parser.parse_args(argv)
    with _quiet():
        count = count_folder(args.folder)
    if args.list:
        sys.stdout.write(reasons_table(count))
    print(f'{count.configs} configs of models: {count.models} models, {count.whole} whole; {count.unread} unread')
    return 0


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings: they are about runs, and nothing runs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


def count_folder(folder: Path) -> Count:
    """Try every config below a folder, but for those of `_base_`, which are parts."""
    count = Count()
    for path in sorted(folder.rglob('*.py')):
        name = str(path.relative_to(folder))
        if '_base_' in path.parts:
            continue
        try:
            cfg = Config.fromfile(path)
        except (UserError, OSError, ValueError) as error:
            count.unread += 1
            count.reasons[f'unread: {_reason(error)}'].append(name)
            continue
        if isinstance(cfg.get('model'), Mapping):
            _try_config(cfg, name, count)
    return count


def _try_config(cfg: Config, name: str, count: Count) -> None:
    count.configs += 1
    try:
        build_model(cfg)
        count.models += 1
    except Exception as error:  # whatever it is, this config is refused
        count.reasons[f'model: {_reason(error)}'].append(name)
        return
    try:
        build_parts(read_recipe(cfg))
        count.whole += 1
    except Exception as error:
        count.reasons[_reason(error)].append(name)


def reasons_table(count: Count) -> str:
    """A line for each reason, with the folders of its configs."""
    lines = []
    for reason, names in sorted(count.reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        folders = Counter(name.partition('/')[0] for name in names)
        listed = ', '.join(f'{folder} {number}' for folder, number in folders.most_common(6))
        lines.append(f'{len(names):4} {reason}  [{listed}]\n')
    return ''.join(lines)


def _reason(error: BaseException) -> str:
    """The part of a message that configs with the same cause share."""
    message = error.message if isinstance(error, UserError) else summary(error)
    return re.split(r'; | For (?:one|a class) of', re.sub(r'\S*/\S*', '...', message))[0][:120]


# ------------------------------------------------------------------ building


def build_model(cfg: Mapping[str, Any]) -> torch.nn.Module:
    """The model without memory for its weights."""
    with torch.device('meta'):
        return build_neutral_model(neutral_model(cfg['model']))


def build_parts(recipe: Recipe) -> None:
    """Build everything of a recipe that needs neither data nor weights.

    Raises:
        UserError: naming the first type or argument that is missing.
    """
    for loader in (recipe.train, recipe.val, recipe.test):
        _check_datasets(loader.dataset)
        for number, sampler in enumerate((loader.sampler, loader.batch_sampler), start=1):
            _check_sampler(sampler, number)
    if recipe.tta is not None:
        _build_pipeline(recipe.tta.pipeline)
    for metric in (*recipe.test_metrics, *(recipe.evaluation.metrics if recipe.evaluation else ())):
        METRICS.build(metric)
    training = recipe.training
    if training is None:
        return
    RUNNERS.get(training.loop['type'])
    for logger in training.loggers:
        HOOKS.build(logger)
    for hook in training.hooks:
        HOOKS.build(hook.config)
    if training.checkpoint is not None:
        HOOKS.build(training.checkpoint, type='CheckpointHook')
    OPTIMIZERS.get(training.optimizer.config['type'])
    OPTIMIZER_BUILDERS.get(training.optimizer.constructor)


def _check_sampler(sampler: ConfigDict | None, num_positional: int) -> None:
    """The name and arguments of a sampler, which takes the data, or of one of batches, which takes a sampler before."""
    if sampler is not None:
        arguments = {key: value for key, value in sampler.items() if key not in ('type', '_scope_')}
        check_arguments(DATA_SAMPLERS.get(sampler['type']), arguments, num_positional, sampler['type'])


def _check_datasets(dataset: Any) -> None:
    """Names and arguments of a dataset and those in it, and their pipelines."""
    for cfg in _configs(dataset):
        arguments = {key: value for key, value in cfg.items() if key != 'type'}
        check_arguments(DATASETS.get(cfg['type']), arguments, name=cfg['type'])
        if 'pipeline' in cfg:
            _build_pipeline(cfg['pipeline'])


def _configs(dataset: Any) -> Iterator[ConfigDict]:
    if isinstance(dataset, ConfigDict):
        yield dataset
        for key in ('dataset', 'datasets'):
            yield from _configs(dataset.get(key))
    elif isinstance(dataset, (list, tuple)):
        for part in dataset:
            yield from _configs(part)


def _build_pipeline(pipeline: Any) -> None:
    if isinstance(pipeline, (list, tuple)):
        for step in pipeline:
            TRANSFORMS.build(step)


if __name__ == '__main__':
    sys.exit(main())
