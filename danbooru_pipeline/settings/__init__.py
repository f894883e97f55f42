"""What an operator can choose: ``DANBOORU_*`` environment variables, and nothing else (no ``.env``, no secrets folder).

`model` declares each setting once. From that declaration come its parsing, its complaint, its row in the README and its
line of ``danbooru-pipeline settings``. To add a setting, add a field there and run ``make docs``.

Importing this room takes 0.2 s of CPU time: 0.1 for pydantic, which Dagster needs too, 0.09 for pydantic-settings.
Modules that only name `Settings` as a type import it for type checking alone, so that help, `verify` and readers of a
release do not wait for it; a test holds that.
"""

from danbooru_pipeline.settings.declaration import PREFIX, Declaration
from danbooru_pipeline.settings.kinds import is_loopback
from danbooru_pipeline.settings.listing import Origin, SettingInForce, settings_in_force
from danbooru_pipeline.settings.model import Settings

__all__ = ["PREFIX", "Declaration", "Origin", "SettingInForce", "Settings", "is_loopback", "settings_in_force"]
