"""Train a detector: python tools/train.py --help"""

import sys

from mmkit.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
