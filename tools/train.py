"""Train a detector: python tools/train.py --help"""

import sys

from mmkit.cli.train import main

sys.exit(main())
