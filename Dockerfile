# One image for every node: head, CPU workers, GPU workers.
#   docker build --tag your-registry/hybrid-ray:0.1.0 .
# The base has Ray's own layout, so that `ray up` and KubeRay can use the image; its Python and Ray are the tested ones.
ARG BASE=rayproject/ray:2.60.0-py311
FROM ${BASE}

WORKDIR /home/ray/hybrid_ray
COPY --chown=ray:users pyproject.toml constraints.txt README.md ./
COPY --chown=ray:users hybrid_ray hybrid_ray
RUN pip install --no-cache-dir --constraint constraints.txt ".[s3]"
COPY --chown=ray:users jobs jobs
COPY --chown=ray:users specs specs

ENV RAY_USAGE_STATS_ENABLED=0
