"""The functions that scripts and notebooks call."""

from mmkit.apis.det_inferencer import DetInferencer
from mmkit.apis.inference import inference_detector, init_detector, show_result, show_result_pyplot
from mmkit.apis.test import test_detector
from mmkit.apis.train import train_detector
from mmkit.engine.predict import evaluate_model, multi_gpu_test, single_gpu_test
from mmkit.utils.seed import set_random_seed

__all__ = [
    'DetInferencer',
    'evaluate_model',
    'inference_detector',
    'init_detector',
    'multi_gpu_test',
    'set_random_seed',
    'show_result',
    'show_result_pyplot',
    'single_gpu_test',
    'test_detector',
    'train_detector',
]
