"""Run a model's spec again on other rows, as a Ray job.

ray job submit --address http://head:8265 --working-dir . -- python jobs/retrain.py MODEL --data PATH
"""

import sys

from hybrid_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["retrain", *sys.argv[1:]]))
