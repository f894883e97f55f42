# Two stages: compilers and the build backend stay in the first, which is thrown away.
FROM python:3.11-slim AS build
WORKDIR /build
# pyvips is built from source; libvips itself comes in a wheel.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY requirements-production.lock requirements.lock ./
RUN pip wheel --no-cache-dir --no-deps --require-hashes -r requirements-production.lock -w /wheels
# The build backend is pinned with the development tools.
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY . .
# The context has no .git, so `make image` passes what git says; it ends up in RELEASE.json.
ARG GIT_DESCRIBE=
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps . -w /wheels

FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends rsync && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl && rm -rf /wheels
WORKDIR /opt/danbooru-pipeline
COPY dagster.yaml ./
COPY deploy deploy/
# DAGSTER_HOME for one machine, and for several. Runs and logs are in Postgres and /data; nothing is written here.
RUN mkdir -p /opt/dagster/home /opt/dagster/celery \
    && cp dagster.yaml deploy/workspace.yaml deploy/rsyncd.conf /opt/dagster/home/ \
    && cp deploy/dagster-celery.yaml /opt/dagster/celery/dagster.yaml \
    && cp deploy/workspace.yaml deploy/dagster_celery_config.py /opt/dagster/celery/
RUN useradd --uid 10001 --user-group --create-home danbooru && install -d -o danbooru -g danbooru /data
# Dagster loads a .env from its working directory over the container's environment; this folder has none and is not writable.
WORKDIR /opt/dagster
USER danbooru
