"""Checkpoints at intervals."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmkit.engine.hook import Hook, Trainer
from mmkit.errors import InvalidValueError
from mmkit.registry import HOOKS
from mmkit.utils.dist import average_in_place, is_main
from mmkit.utils.files import atomic_write, check_disk, sha256
from mmkit.utils.weights import read_weights


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Writes `epoch_N.pth` or `iter_N.pth` and points `latest.pth` at it.

    If a checkpoint cannot be written, because the disk is full for instance, that is logged as an error, the earlier
    ones stay and the training goes on.

    Args:
        interval: epochs (or iterations) between checkpoints, counted from `save_begin`; negative: none but the last.
        by_epoch: count epochs.
        save_optimizer: with the optimizer's state, without which a resumed training isn't the same.
        out_dir: write to a directory with the name of the work directory in here.
        max_keep_ckpts: keep that many of the newest and remove the others; negative: keep all.
        save_last: write one at the end of the training in any case.
        sync_buffer: average the buffers (statistics of norm layers) over the processes first.
        meta: further entries for the checkpoint's meta.
        create_symlink: make `latest.pth`.
        file_client_args: only None or dict(backend='disk').
        filename_tmpl: name of the files with {} for the number, such as 'step_{}.pth'.
        save_begin: no checkpoint before this epoch (or iteration).
        last_checkpoint: write the path of the newest one into a file of this name.
        published_keys: at the end, copy the last checkpoint and the best ones with nothing but these top-level keys to
            files whose names end in the first 8 digits of their SHA-256.

    Raises:
        InvalidValueError: naming the argument that is wrong.
    """

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        *,
        save_last: bool = True,
        sync_buffer: bool = False,
        meta: Mapping[str, Any] | None = None,
        create_symlink: bool = True,
        file_client_args: Mapping[str, Any] | None = None,
        filename_tmpl: str | None = None,
        save_begin: int = 0,
        last_checkpoint: bool = False,
        published_keys: str | Sequence[str] | None = None,
    ) -> None:
        check_disk(file_client_args)
        for key, value in (('interval', interval), ('max_keep_ckpts', max_keep_ckpts), ('save_begin', save_begin)):
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
        self.template = filename_tmpl or ('epoch_{}.pth' if by_epoch else 'iter_{}.pth')
        if self.template.count('{}') != 1 or Path(self.template).name != self.template:
            message = f"filename_tmpl is {filename_tmpl!r}, expected a file name with one {{}}, such as 'step_{{}}.pth'"
            raise InvalidValueError(message, key='filename_tmpl')
        self.save_begin = save_begin
        self.last_checkpoint = last_checkpoint
        self.published_keys = (published_keys,) if isinstance(published_keys, str) else tuple(published_keys or ())

    def after_train_epoch(self, runner: Trainer) -> None:
        if self.by_epoch and (self._is_due(runner.epoch) or (self.save_last and self.is_last_epoch(runner))):
            self._save(runner, runner.epoch)

    def after_train_iter(self, runner: Trainer) -> None:
        if not self.by_epoch and (self._is_due(runner.iter) or (self.save_last and self.is_last_iter(runner))):
            self._save(runner, runner.iter)

    def after_run(self, runner: Trainer) -> None:
        is_over = self.is_last_epoch(runner) if self.by_epoch else self.is_last_iter(runner)
        if not self.published_keys or not (is_over or runner.is_stopped) or not is_main():
            return
        number = runner.epoch if self.by_epoch else runner.iter
        last = output_directory(runner, self.out_dir) / self.template.format(number)
        for path in [last, *(Path(best['path']) for best in runner.best.values())]:
            if path.is_file():
                runner.logger.info('published %s', publish(path, self.published_keys))

    def _is_due(self, done: int) -> bool:
        return self.interval > 0 and done >= self.save_begin and (done - self.save_begin) % self.interval == 0

    def _save(self, runner: Trainer, number: int) -> None:
        if self.sync_buffer:
            average_in_place(runner.module.buffers())
        directory = output_directory(runner, self.out_dir)
        path = directory / self.template.format(number)
        try:
            runner.save(path, self.save_optimizer, self.meta)
            if is_main():
                if self.create_symlink:
                    _point(directory / 'latest.pth', path)
                if self.last_checkpoint:
                    with atomic_write(directory / 'last_checkpoint', 'w') as file:
                        file.write(str(path))
                self._remove_old(directory, number)
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            runner.logger.error('%s could not be written, earlier checkpoints stay: %s', path, cause)
            return
        runner.logger.info('saved %s', path)

    def _remove_old(self, directory: Path, number: int) -> None:
        if self.max_keep_ckpts < 0:
            return
        numbered = []
        before, after = map(re.escape, self.template.split('{}'))
        for path in directory.iterdir():
            match = re.fullmatch(rf'{before}(\d+){after}', path.name)
            if match and int(match[1]) <= number:
                numbered.append((int(match[1]), path))
        for _, path in sorted(numbered, reverse=True)[max(self.max_keep_ckpts, 1) :]:
            path.unlink()


def output_directory(runner: Trainer, out_dir: str | None) -> Path:
    """The work directory, or the directory of its name in `out_dir`."""
    return runner.work_dir if out_dir is None else Path(out_dir) / runner.work_dir.resolve().name


def publish(path: Path, keys: Sequence[str]) -> Path:
    """Copy a checkpoint with some of its top-level keys.

    Returns:
        The new file beside it, whose name ends in the first 8 digits of its SHA-256.
    """
    checkpoint = read_weights(path)
    temporary = path.with_name(f'{path.stem}-published.pth')
    with atomic_write(temporary) as file:
        torch.save({key: checkpoint[key] for key in keys if key in checkpoint}, file)
    published = path.with_name(f'{path.stem}-{sha256(temporary)[:8]}.pth')
    temporary.replace(published)
    return published


def _point(link: Path, target: Path) -> None:
    """Make `link` a relative symbolic link to a file beside it, or a copy where there are no links."""
    temporary = link.with_name(f'.{link.name}.tmp')
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target.name)
    except (OSError, NotImplementedError):
        shutil.copyfile(target, temporary)
    os.replace(temporary, link)
