import pytest

from tests.tiny import make_dataset, save_weights, tiny_config


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """(directory of the data set, config, checkpoint)"""
    directory = make_dataset(tmp_path_factory.mktemp('tiny') / 'data')
    cfg = tiny_config(directory)
    return directory, cfg, save_weights(directory / 'a.pth', cfg)
