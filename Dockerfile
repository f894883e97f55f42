FROM python:3.11-slim
WORKDIR /opt/danbooru-pipeline
# pyvips is built from source; libvips itself comes in a wheel.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev rsync && rm -rf /var/lib/apt/lists/*
COPY requirements.lock .
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY . .
# The context has no .git, so `make image` passes what git says; it ends up in RELEASE.json.
ARG GIT_DESCRIBE=
RUN pip install --no-cache-dir --no-build-isolation --no-deps .
# DAGSTER_HOME for one machine, and for several.
RUN mkdir -p /opt/dagster/home /opt/dagster/celery \
    && cp dagster.yaml deploy/workspace.yaml deploy/rsyncd.conf /opt/dagster/home/ \
    && cp deploy/dagster-celery.yaml /opt/dagster/celery/dagster.yaml \
    && cp deploy/workspace.yaml deploy/dagster_celery_config.py /opt/dagster/celery/
