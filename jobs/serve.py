"""Serve a model until the job is stopped, as a Ray job.

ray job submit --address http://head:8265 --working-dir . -- python jobs/serve.py MODEL --host 0.0.0.0
"""

import sys

from hybrid_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
