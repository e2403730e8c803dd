"""Curves of a training run, from its `.log.json` or `scalars.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkit.errors import InvalidValueError

Record = dict[str, Any]
Points = tuple[list[float], list[float]]


def read_log(path: str | Path) -> list[Record]:
    """The records of a log, one JSON object per line.

    Args:
        path: a `.log.json`, or the `scalars.json` of mmdetection 3.x, whose records get the mode, epoch and iteration
            that those of the other have. Records of neither kind, such as the environment, are left out.

    Raises:
        InvalidValueError: a line is not JSON.
    """
    records = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidValueError(f'{path}:{number}: not a line of JSON: {line[:80]!r}') from error
        if 'mode' in record or 'step' in record:
            records.append(record)
    return _with_modes(records)


def _with_modes(records: Sequence[Record]) -> list[Record]:
    """Records of `scalars.json` with mode, epoch and the iteration in that epoch; others as they are."""
    counted = [record for record in records if 'mode' not in record and 'epoch' in record]
    per_epoch = max((math.ceil(record['iter'] / record['epoch']) for record in counted), default=0)
    complete = []
    for record in records:
        if 'mode' in record:
            complete.append(record)
        elif 'iter' in record:
            epoch = record.get('epoch', 1)
            complete.append(
                {**record, 'mode': 'train', 'epoch': epoch, 'iter': record['iter'] - (epoch - 1) * per_epoch}
            )
        else:
            epoch = record['step'] if per_epoch else 1
            complete.append({**record, 'mode': 'val', 'epoch': epoch, 'iter': record['step']})
    return complete


def curve(records: Sequence[Record], key: str) -> Points:
    """x and y of a logged value; x is in epochs, or in iterations if the run has no epochs."""
    training = [record for record in records if record['mode'] == 'train']
    by_epoch = len({record['epoch'] for record in records}) > 1
    per_epoch = max((record['iter'] for record in training), default=1)
    x, y = [], []
    for record in records:
        if not isinstance(record.get(key), (int, float)):
            continue
        is_evaluation = record['mode'] != 'train'  # at the end of its epoch
        epoch = record['epoch'] if is_evaluation else record['epoch'] - 1 + record['iter'] / per_epoch
        x.append(float(epoch if by_epoch else record['iter']))
        y.append(float(record[key]))
    return x, y


def default_keys(records: Sequence[Record]) -> list[str]:
    """Every loss, AP and AR in the order of the log, without those that are always -1."""
    keys = [
        key
        for record in records
        for key, value in record.items()
        if isinstance(value, (int, float))
        and value >= 0
        and ('loss' in key or 'mAP' in key or 'AR@' in key)
        and not any(name in key.rpartition('/')[0] for name in ('loss', 'mAP', 'AR@'))  # of single classes
    ]
    return list(dict.fromkeys(keys))


def plot_curves(log_json: str | Path, out_png: str | Path, keys: Sequence[str] | None = None) -> Path:
    """Plot losses on the left and metrics on the right.

    Args:
        log_json: see `read_log`.
        out_png: the file to write; its folder is made.
        keys: values to plot, by default every loss, AP and AR.

    Returns:
        `out_png`.

    Raises:
        InvalidValueError: a key is not in the log, or there is nothing to plot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read_log(log_json)
    keys = default_keys(records) if keys is None else list(keys)
    logged = {key for record in records for key in record}
    unknown = [key for key in keys if key not in logged]
    if unknown or not keys:
        message = f'{log_json} has no {", ".join(unknown) or "losses"}; it has: {", ".join(sorted(logged))}'
        raise InvalidValueError(message, key='keys')

    losses = [key for key in keys if 'loss' in key or key in ('lr', 'grad_norm', 'memory', 'time', 'data_time')]
    panels = [panel for panel in (losses, [key for key in keys if key not in losses]) if panel]
    figure = Figure(figsize=(7 * len(panels), 4.5), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        for key in panel:
            axes.plot(*curve(records, key), label=key, marker='o' if panel is not losses else None, markersize=3)
        axes.set_xlabel('epoch' if len({record['epoch'] for record in records}) > 1 else 'iteration')
        axes.grid(alpha=0.3)
        axes.legend(fontsize='small')
        if panel is not losses:
            axes.set_ylim(0, 1)
    out_png = Path(out_png)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png, dpi=120)
    return out_png
