FROM python:3.11-slim
WORKDIR /opt/danbooru-pipeline
# pyvips is built from source; libvips itself comes in a wheel.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY requirements.lock .
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-build-isolation --no-deps .
