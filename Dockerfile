FROM python:3.11-slim
WORKDIR /opt/danbooru-pipeline
# pyvips is built from source; libvips itself comes in a wheel.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev rsync && rm -rf /var/lib/apt/lists/*
COPY requirements.lock .
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY . .
# The context has no .git; `make image` hands in what git says of it, and it ends up in RELEASE.json.
ARG GIT_DESCRIBE=
RUN pip install --no-cache-dir --no-build-isolation --no-deps .
# DAGSTER_HOME of one machine, and of several.
RUN mkdir -p /opt/dagster/home /opt/dagster/celery \
    && cp dagster.yaml deploy/workspace.yaml deploy/rsyncd.conf /opt/dagster/home/ \
    && cp deploy/dagster-celery.yaml /opt/dagster/celery/dagster.yaml \
    && cp deploy/workspace.yaml deploy/dagster_celery_config.py /opt/dagster/celery/
