"""A detector or classifier from a config and a checkpoint, for scripts and notebooks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from mmkit.config import Config
from mmkit.config.shipped import find_config
from mmkit.datasets import SeededDataset, collate
from mmkit.datasets.annotations import read_classes
from mmkit.dialects import Recipe, find_dialect, read_recipe
from mmkit.dialects.recipe import DatasetConfig
from mmkit.dialects.spellings import TRANSFORMS, read_v3
from mmkit.dialects.test_time import Pipeline, find_pipeline
from mmkit.engine.checkpoint import load_checkpoint
from mmkit.engine.parts import require_model, set_classes
from mmkit.engine.predict import eval_mode, predict_views
from mmkit.errors import ConfigError, InvalidTypeError, InvalidValueError
from mmkit.models import build_neutral_model
from mmkit.protocols import Transform
from mmkit.registry import DATASETS
from mmkit.structures import ClassScores, Prediction
from mmkit.transforms import Compose
from mmkit.transforms.images import read_image
from mmkit.utils.env import resolve_device
from mmkit.utils.logging import get_logger
from mmkit.utils.names import unscoped
from mmkit.visualization import draw_class, draw_detections
from mmkit.visualization.palettes import Palette, find_palette

Image = str | os.PathLike[str] | np.ndarray


def init_detector(
    config: str | os.PathLike[str] | Config,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = 'cuda:0',
    cfg_options: Mapping[str, Any] | None = None,
    palette: str | Palette = 'none',
) -> nn.Module:
    """The detector (or classifier) of a config, with weights, ready to predict.

    Args:
        config: a file, the name of a config that mmkit ships, or a config that was read (and changed) already; it stays
            as it is.
        checkpoint: a file, URL or scheme; None leaves the weights random.
        device: without a GPU it is the CPU, which is said once.
        cfg_options: values by dotted keys, merged into the config.
        palette: colours of drawings where the checkpoint has none: 'coco', 'voc', 'citys', or RGB by label; 'none' and
            'random' leave them to the drawing.

    Returns:
        A model in evaluation mode with the attributes `cfg`, `CLASSES` (names by label, from the checkpoint or else
        from the config; None if neither knows) and `PALETTE` (RGB by label, or None).

    Raises:
        InvalidTypeError: if `config` is something else.
        UserError: if it does not describe a model, or the checkpoint cannot be read.
    """
    cfg = as_config(config)
    cfg.merge_from_dict(dict(cfg_options or {}), source='cfg_options')
    recipe = read_recipe(cfg, training=False)
    model = build_neutral_model(require_model(recipe))
    meta: Mapping[str, Any] = {}
    if checkpoint is not None:
        meta = load_checkpoint(model, checkpoint).get('meta') or {}
    classes = _names(meta.get('CLASSES')) or _configured_classes(recipe)
    set_classes(model, classes, meta.get('PALETTE') or find_palette(palette))
    vars(model)['cfg'] = cfg
    if classes is None:
        get_logger().warning('neither the checkpoint nor the config names the classes: labels are shown as numbers')
    return model.to(resolve_device(device)).eval()


def as_config(config: str | os.PathLike[str] | Config) -> Config:
    """A config of its own, read from a file or copied."""
    if isinstance(config, Config):
        return Config(config, filename=config.filename, text=config.text)
    if isinstance(config, (str, os.PathLike)):
        return Config.fromfile(find_config(os.fspath(config)))
    raise InvalidTypeError(f'config is a {type(config).__name__}, expected a path or a Config')


def inference_detector(
    model: nn.Module,
    imgs: Image | Sequence[Image],
    test_pipeline: Pipeline | Transform | None = None,
    batch_size: int = 1,
) -> Prediction | list[Prediction]:
    """Detections, or class scores, of single images.

    Args:
        model: from `init_detector`, or any model with the attribute `cfg`.
        imgs: a path, an array (H, W, 3) uint8 BGR, or a list of these.
        test_pipeline: transforms in place of those of the config, in its dialect, or a callable that makes a sample of
            `img` or `img_info`, `img_prefix` and empty lists of fields.
        batch_size: images of a list that go through the model together, padded to a common size.

    Returns:
        `Instances` in pixels of the image, the best first, or `ClassScores`; on the CPU; for a list, a list of them.

    Raises:
        InvalidValueError: if an array isn't an image, or the model has no `cfg`.
    """
    cfg = getattr(model, 'cfg', None)  # the model may be anybody's
    if cfg is None:
        raise InvalidValueError('the model has no config: make it with init_detector, or set model.cfg = cfg')
    single = isinstance(imgs, (str, os.PathLike, np.ndarray))
    images = [imgs] if isinstance(imgs, (str, os.PathLike, np.ndarray)) else list(imgs)
    pipelines = _build_pipelines(cfg, test_pipeline)
    predictions: list[Prediction] = []
    with eval_mode(model):
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            samples = [pipelines[isinstance(img, np.ndarray)](_raw_sample(img)) for img in chunk]
            predictions.extend(predict_views(model, collate(samples)))
    return predictions[0] if single else predictions


def inference_pipeline(dataset: DatasetConfig | None) -> list[dict[str, Any]]:
    """The transforms of the test dataset, of the first one if there are several.

    Raises:
        ConfigError: if it has none that starts by loading an image.
    """
    pipeline = find_pipeline(dataset)
    if pipeline is None:
        raise ConfigError('the config has no pipeline of a test dataset, which says how images are prepared')
    return _from_file(pipeline)


def _from_file(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The transforms beginning with a file, without those that load its truth."""
    steps = [dict(step) for step in pipeline if unscoped(str(step['type'])) != 'LoadAnnotations']
    kind = unscoped(str(steps[0]['type'])) if steps else 'nothing'
    if kind not in ('LoadImageFromFile', 'LoadImageFromWebcam'):
        raise ConfigError(f'the pipeline of the test starts with {kind}, expected LoadImageFromFile')
    return [{**steps[0], 'type': 'LoadImageFromFile'}, *steps[1:]]


def _build_pipelines(cfg: Config, given: Pipeline | Transform | None) -> dict[bool, Transform]:
    """Pipelines of files (False) and of arrays (True)."""
    if given is None:
        steps = inference_pipeline(read_recipe(cfg, training=False).test.dataset)
    elif isinstance(given, Sequence):
        steps = _from_file(read_v3(given, TRANSFORMS) if find_dialect(cfg) == 3 else given)
    else:
        return {False: given, True: given}
    return {False: Compose(steps), True: Compose([{**steps[0], 'type': 'LoadImageFromWebcam'}, *steps[1:]])}


def show_result(
    model: nn.Module, img: Image, result: Prediction, score_thr: float = 0.3, out_file: str | None = None
) -> np.ndarray:
    """Draw detections, or the name of the best class, on an image.

    Args:
        model: gives the names and colours of the classes.
        img: a path or an array (H, W, 3) uint8 BGR, which stays as it is.
        result: from `inference_detector`.
        score_thr: 0..1, detections below are left out; a best class always has its place.
        out_file: where to write the drawing; directories are made.

    Returns:
        The drawing, (H, W, 3) uint8 BGR.
    """
    image = check_image(img) if isinstance(img, np.ndarray) else read_image(os.fspath(img), 'color', 'bgr')
    classes, palette = getattr(model, 'CLASSES', None), getattr(model, 'PALETTE', None)  # the model may be anybody's
    colours = [tuple(reversed(colour)) for colour in palette] if palette else None
    if isinstance(result, ClassScores):
        drawn = draw_class(image, result, classes, colours)
    else:
        drawn = draw_detections(image, result, classes, score_thr, colours)
    if out_file is not None:
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(os.fspath(out_file), drawn):
            raise OSError(f'{out_file} could not be written')
    return drawn


def show_result_pyplot(
    model: nn.Module,
    img: Image,
    result: Prediction,
    score_thr: float = 0.3,
    title: str = 'result',
    wait_time: float = 0,
    out_file: str | None = None,
) -> None:
    """Draw detections and show them in a window or a notebook; the arguments are those of `show_result` and:

    Args:
        title: of the window.
        wait_time: seconds after which the window closes; 0 waits for the user.
    """
    from matplotlib import pyplot

    drawn = show_result(model, img, result, score_thr, out_file)
    height, width = drawn.shape[:2]
    figure = pyplot.figure(title, figsize=(width / 100, height / 100))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(drawn[..., ::-1])
    axes.axis('off')
    pyplot.show(block=wait_time == 0)
    if wait_time > 0:
        pyplot.pause(wait_time)
    pyplot.close(figure)


def check_image(img: np.ndarray) -> np.ndarray:
    """Check an image array, and return it.

    Raises:
        InvalidValueError: otherwise.
    """
    if img.ndim != 3 or img.shape[2] != 3 or img.dtype != np.uint8 or 0 in img.shape:
        raise InvalidValueError(f'an image must be (H, W, 3) uint8 BGR, got {img.shape} {img.dtype}')
    return img


def _raw_sample(img: Image) -> dict[str, Any]:
    """A sample as a dataset hands it to its pipeline."""
    fields: dict[str, Any] = {'img_prefix': None, 'bbox_fields': [], 'mask_fields': [], 'seg_fields': []}
    if isinstance(img, np.ndarray):
        return {**fields, 'img': check_image(img), 'img_info': {'id': 0}}
    return {**fields, 'img_info': {'id': 0, 'filename': os.fspath(img)}}


def _names(classes: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """CLASSES of a checkpoint; a single name was stored as text by some versions."""
    return None if not classes else (classes,) if isinstance(classes, str) else tuple(classes)


def _configured_classes(recipe: Recipe) -> tuple[str, ...] | None:
    """`classes` of a dataset in the config, or the fixed names of its kind of dataset."""
    for dataset in (recipe.test.dataset, recipe.train.dataset):
        while isinstance(dataset, Mapping) and 'dataset' in dataset:
            dataset = dataset['dataset']
        if not isinstance(dataset, Mapping):
            continue
        kind = DATASETS.get(str(dataset.get('type'))) if dataset.get('type') in DATASETS else None
        fixed = kind.CLASSES if isinstance(kind, type) and issubclass(kind, SeededDataset) else None
        try:
            names = read_classes(dataset.get('classes'), fixed)
        except FileNotFoundError:
            continue
        if names:
            return names
    return None
