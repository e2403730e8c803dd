"""Destinations for the figures of a training: files, tensorboard, wandb, MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mmkit.config import Config
from mmkit.errors import InvalidValueError
from mmkit.registry import VIS_BACKENDS
from mmkit.utils.imports import require_package

Scalars = Mapping[str, float | str]


@VIS_BACKENDS.register_module()
class LocalVisBackend:
    """A JSON line for each record, and the config as a Python file.

    Args:
        save_dir: of the files; by default the `vis_data` of the run.
        img_save_dir: must be 'vis_image', where `DetVisualizationHook` draws.
        config_save_file, scalar_save_file: names of the files.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        img_save_dir: str = 'vis_image',
        config_save_file: str = 'config.py',
        scalar_save_file: str = 'scalars.json',
    ) -> None:
        if img_save_dir != 'vis_image':
            raise InvalidValueError("img_save_dir is 'vis_image': images are drawn by hooks", key='img_save_dir')
        self.save_dir = save_dir
        self.config_save_file = config_save_file
        self.scalar_save_file = scalar_save_file
        self._scalars = Path(scalar_save_file)

    def open(self, directory: Path, config: str, model: nn.Module) -> None:
        directory = Path(self.save_dir or directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / self.config_save_file).write_text(config, encoding='utf-8')
        self._scalars = directory / self.scalar_save_file

    def add_scalars(self, values: Scalars, step: int) -> None:
        with open(self._scalars, 'a', encoding='utf-8') as file:
            file.write(json.dumps({**values, 'step': step}) + '\n')

    def close(self) -> None: ...


@VIS_BACKENDS.register_module()
class TensorboardVisBackend:
    """Curves for `tensorboard --logdir`.

    Args:
        save_dir: of the files; by default the `vis_data` of the run.

    Raises:
        MissingPackageError: tensorboard is not installed.
    """

    def __init__(self, save_dir: str | None = None) -> None:
        require_package('tensorboard', 'TensorboardVisBackend')
        self.save_dir = save_dir
        self._writer: Any = None

    def open(self, directory: Path, config: str, model: nn.Module) -> None:
        tensorboard = require_package('torch.utils.tensorboard', 'TensorboardVisBackend')
        self._writer = tensorboard.SummaryWriter(self.save_dir or str(directory))
        self._writer.add_text('config', config)

    def add_scalars(self, values: Scalars, step: int) -> None:
        for name, value in values.items():
            if isinstance(value, str):
                self._writer.add_text(name, value, step)
            else:
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@VIS_BACKENDS.register_module()
class WandbVisBackend:
    """A run of Weights & Biases.

    Args:
        save_dir: of its local files; by default the `vis_data` of the run.
        init_kwargs: of `wandb.init`, such as project and name.
        define_metric_cfg: summaries by name of the figure, as in {'coco/bbox_mAP': 'max'}, or a list of arguments of
            `wandb.define_metric`.
        commit: send each record at once.
        log_code_name: save the code under this name too.
        watch_kwargs: of `wandb.watch`, for gradients and parameters of the model.

    Raises:
        MissingPackageError: wandb is not installed.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        init_kwargs: Mapping[str, Any] | None = None,
        define_metric_cfg: Mapping[str, str] | Sequence[Mapping[str, Any]] | None = None,
        commit: bool = True,
        log_code_name: str | None = None,
        watch_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._wandb = require_package('wandb', 'WandbVisBackend')
        self.save_dir = save_dir
        self.init_kwargs = dict(init_kwargs or {})
        summaries = define_metric_cfg.items() if isinstance(define_metric_cfg, Mapping) else ()
        named = [{'name': name, 'summary': summary} for name, summary in summaries]
        self.metrics = named if isinstance(define_metric_cfg, Mapping) else list(define_metric_cfg or ())
        self.commit = commit
        self.log_code_name = log_code_name
        self.watch_kwargs = watch_kwargs
        self._run: Any = None

    def open(self, directory: Path, config: str, model: nn.Module) -> None:
        arguments = {'dir': self.save_dir or str(directory), **self.init_kwargs}
        Path(arguments['dir']).mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(**arguments)
        self._run.config.update({'config': config}, allow_val_change=True)
        for metric in self.metrics:
            self._run.define_metric(**metric)
        if self.log_code_name is not None:
            self._run.log_code(name=self.log_code_name)
        if self.watch_kwargs is not None:
            self._run.watch(model, **self.watch_kwargs)

    def add_scalars(self, values: Scalars, step: int) -> None:
        self._run.log({**values, 'step': step}, commit=self.commit)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


@VIS_BACKENDS.register_module()
class MLflowVisBackend:
    """A run of MLflow.

    Args:
        save_dir: of local files that become artifacts; by default the `vis_data` of the run.
        exp_name, run_name, tags, params: of the run.
        tracking_uri: of the server; None leaves MLflow's own choice, the folder `mlruns`.
        artifact_suffix: files in the directory with these endings are uploaded at the end.
        tracked_config_keys: top-level keys of the config to log as parameters; None for all.

    Raises:
        MissingPackageError: mlflow is not installed.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        exp_name: str | None = None,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        tracking_uri: str | None = None,
        artifact_suffix: str | Sequence[str] = ('.json', '.log', '.py', 'yaml'),
        tracked_config_keys: Sequence[str] | None = None,
    ) -> None:
        self._mlflow = require_package('mlflow', 'MLflowVisBackend')
        self.save_dir = save_dir
        self.exp_name = exp_name
        self.run_name = run_name
        self.tags = dict(tags or {})
        self.params = dict(params or {})
        self.tracking_uri = tracking_uri
        self.artifact_suffix = (artifact_suffix,) if isinstance(artifact_suffix, str) else tuple(artifact_suffix)
        self.tracked_config_keys = tracked_config_keys
        self._directory: Path | None = None

    def open(self, directory: Path, config: str, model: nn.Module) -> None:
        self._directory = Path(self.save_dir or directory)
        if self.tracking_uri is not None:
            self._mlflow.set_tracking_uri(self.tracking_uri)
        if self.exp_name is not None:
            self._mlflow.set_experiment(self.exp_name)
        self._mlflow.start_run(run_name=self.run_name)
        self._mlflow.set_tags(self.tags)
        whole = Config.fromstring(config, '.py') if config else {}
        keys = whole if self.tracked_config_keys is None else self.tracked_config_keys
        self._mlflow.log_params({**dict(_leaves({key: whole[key] for key in keys})), **self.params})

    def add_scalars(self, values: Scalars, step: int) -> None:
        self._mlflow.log_metrics({name: value for name, value in values.items() if not isinstance(value, str)}, step)

    def close(self) -> None:
        if self._directory is None:
            return
        for path in sorted(self._directory.glob('*')):
            if path.name.endswith(self.artifact_suffix):
                self._mlflow.log_artifact(str(path))
        self._mlflow.end_run()


def _leaves(value: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Settings of a config by dotted key."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', item
