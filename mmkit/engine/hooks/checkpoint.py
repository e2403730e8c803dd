"""Checkpoints at intervals."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmkit.engine.hook import Hook, Trainer
from mmkit.errors import InvalidValueError
from mmkit.registry import HOOKS
from mmkit.utils.dist import average_in_place, is_main
from mmkit.utils.files import check_disk


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Writes `epoch_N.pth` or `iter_N.pth` and points `latest.pth` at it.

    If a checkpoint cannot be written, because the disk is full for instance, that is logged as an error, the earlier
    ones stay and the training goes on.

    Args:
        interval: epochs (or iterations) between checkpoints; negative: none but the last.
        by_epoch: count epochs.
        save_optimizer: with the optimizer's state, without which a resumed training isn't the same.
        out_dir: write to a directory with the name of the work directory in here.
        max_keep_ckpts: keep that many of the newest and remove the others; negative: keep all.
        save_last: write one at the end of the training in any case.
        sync_buffer: average the buffers (statistics of norm layers) over the processes first.
        meta: further entries for the checkpoint's meta.
        create_symlink: make `latest.pth`.
        file_client_args: only None or dict(backend='disk').
    """

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        sync_buffer: bool = False,
        meta: Mapping[str, Any] | None = None,
        create_symlink: bool = True,
        file_client_args: Mapping[str, Any] | None = None,
    ) -> None:
        check_disk(file_client_args)
        for key, value in (('interval', interval), ('max_keep_ckpts', max_keep_ckpts)):
            if not isinstance(value, int):
                raise InvalidValueError(f'checkpoint_config.{key} is {value!r}, expected a whole number', key=key)
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_optimizer = save_optimizer
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.sync_buffer = sync_buffer
        self.meta = meta
        self.create_symlink = create_symlink

    def after_train_epoch(self, runner: Trainer) -> None:
        due = self.every_n_epochs(runner, self.interval) or (self.save_last and self.is_last_epoch(runner))
        if self.by_epoch and due:
            self._save(runner, 'epoch', runner.epoch)

    def after_train_iter(self, runner: Trainer) -> None:
        due = self.every_n_iters(runner, self.interval) or (self.save_last and self.is_last_iter(runner))
        if not self.by_epoch and due:
            self._save(runner, 'iter', runner.iter)

    def _save(self, runner: Trainer, kind: str, number: int) -> None:
        if self.sync_buffer:
            average_in_place(runner.module.buffers())
        directory = output_directory(runner, self.out_dir)
        path = directory / f'{kind}_{number}.pth'
        try:
            runner.save(path, self.save_optimizer, self.meta)
            if is_main():
                if self.create_symlink:
                    _point(directory / 'latest.pth', path)
                self._remove_old(directory, kind, number)
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            runner.logger.error('%s could not be written, earlier checkpoints stay: %s', path, cause)
            return
        runner.logger.info('saved %s', path)

    def _remove_old(self, directory: Path, kind: str, number: int) -> None:
        if self.max_keep_ckpts < 0:
            return
        numbered = []
        for path in directory.glob(f'{kind}_*.pth'):
            match = re.fullmatch(rf'{kind}_(\d+)', path.stem)
            if match and int(match[1]) <= number:
                numbered.append((int(match[1]), path))
        for _, path in sorted(numbered, reverse=True)[max(self.max_keep_ckpts, 1) :]:
            path.unlink()


def output_directory(runner: Trainer, out_dir: str | None) -> Path:
    """The work directory, or the directory of its name in `out_dir`."""
    return runner.work_dir if out_dir is None else Path(out_dir) / runner.work_dir.resolve().name


def _point(link: Path, target: Path) -> None:
    """Make `link` a relative symbolic link to a file beside it, or a copy where there are no links."""
    temporary = link.with_name(f'.{link.name}.tmp')
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target.name)
    except (OSError, NotImplementedError):
        shutil.copyfile(target, temporary)
    os.replace(temporary, link)
