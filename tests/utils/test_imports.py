import pytest

from mmkit.utils.imports import find_class


def test_classes_of_torch():
    import torch

    assert find_class('torch.nn.GELU') is torch.nn.GELU
    assert find_class('torch.nn.modules.activation.ReLU') is torch.nn.ReLU
    assert find_class('torch.optim.SGD') is torch.optim.SGD


@pytest.mark.parametrize(
    'path',
    [
        'os.system',
        'builtins.eval',
        'subprocess.Popen',
        'torch.load',
        'torch.hub.load',
        'torch.nn.functional.relu',
        'torch.nn.functional.torch.hub.load',
        'torch.nn.modules.module.OrderedDict',
        'torch.nn.Module.load_state_dict',
        'torch.nn.modules._functions.SyncBatchNorm',
        'torch.nn.Module.__subclasses__',
        'torchvision.datasets.CocoDetection',
        'mmkit.utils.imports.admit',
        'mmkit.cli.main.main',
        'mmkit.__main__.main',
        'mmkit_other.Thing',
    ],
)
def test_anything_else_is_refused(path):
    with pytest.raises(ValueError, match=path):
        find_class(path)


@pytest.mark.parametrize('path', ['torch.nn.GELUU', 'torch.nn.nothing.GELU', 'mmkit.nothing.Thing'])
def test_absent_classes(path):
    with pytest.raises(ImportError, match=path):
        find_class(path)
