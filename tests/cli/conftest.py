from tests.apis.conftest import tiny

__all__ = ['tiny']
