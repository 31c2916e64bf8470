"""Predict the rows of a table, as a Ray job.

ray job submit --address http://head:8265 --working-dir . -- python jobs/predict.py MODEL --data PATH --out PATH
"""

import sys

from hybrid_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
