"""Print a config with its bases merged: python tools/print_config.py --help"""

import sys

from mmkit.cli.print_config import main

if __name__ == '__main__':
    sys.exit(main())
