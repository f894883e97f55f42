"""Celery's settings; dagster-celery looks for a module of this name when a worker starts."""

import os
from multiprocessing import process

from celery.signals import worker_process_init

broker_url = os.environ["DAGSTER_CELERY_BROKER_URL"]
result_backend = os.environ["DAGSTER_CELERY_RESULT_BACKEND"]
task_default_queue = "dagster"
# A worker takes only the run that it executes and reserves no other.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True
# Acknowledge at the start and never redeliver: Dagster refuses to execute a run twice, so a redelivered task "succeeds"
# and hides the loss. A killed child becomes a failure instead, which run monitoring sees and run retries queue again.
task_acks_late = False
task_reject_on_worker_lost = False
# Bounds the memory that native image libraries leak.
worker_max_tasks_per_child = 50
# Longer than the longest run; otherwise Redis hands it out twice.
broker_transport_options = {"visibility_timeout": 8 * 24 * 3600}


@worker_process_init.connect
def allow_children(**_: object) -> None:
    """Let the process of a run start image workers: Celery forbids it, and gives it a key that Python cannot send."""
    config = process.current_process()._config  # noqa: SLF001 - there is no public way
    config["daemon"] = False
    config["authkey"] = process.AuthenticationString(config["authkey"])
