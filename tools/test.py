"""Evaluate a checkpoint: python tools/test.py --help"""

import sys

from mmkit.cli.test import main

if __name__ == '__main__':
    sys.exit(main())
