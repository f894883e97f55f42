"""Values that settings refuse, and what is said to be wanted instead."""

from typing import Final

_ADDRESS = "an address like https://danbooru.donmai.us"
_FOLDER = "the address of the folder of releases, like https://data.example.org/releases"
_HOOK = "an address like https://hooks.example.org/T0/B0"
_REASONS = 'names with their reasons, like "tags: gone upstream since 2023; posts: the site removed a section"'

#: variable without its prefix, value, words after "set it to"
REFUSED: Final = [
    ("API_URL", "danbooru", _ADDRESS),
    ("API_URL", "ftp://127.0.0.1", _ADDRESS),
    ("API_URL", "https://[::1", _ADDRESS),
    ("API_URL", "https://127.0.0.1:port", _ADDRESS),
    ("API_URL", "https://1.2.3.999", _ADDRESS),
    ("API_URL", "https://dan booru.us", _ADDRESS),
    ("API_URL", "https://danbooru\n.us", _ADDRESS),
    ("API_URL", "http://danbooru.donmai.us", "an https address (plain http is for loopback only)"),
    (
        "CDN_URL",
        "https://me:hunter2@cdn.us",
        "an address without a login in it; use DANBOORU_LOGIN and DANBOORU_API_KEY",
    ),
    ("REQUESTS_PER_SECOND", "0", "a number above 0"),
    ("REQUESTS_PER_SECOND", "-1", "a number above 0"),
    ("REQUESTS_PER_SECOND", "nan", "a number above 0"),
    ("REQUESTS_PER_SECOND", "inf", "a number above 0"),
    ("REQUESTS_PER_SECOND", "fast", "a number above 0"),
    ("DOWNLOADS_PARALLEL", "0", "a number above 0"),
    ("WORKERS", "abc", "a number above 0"),
    ("WORKERS", "1.5", "a whole number above 0"),
    ("WORKERS", "9" * 5000, "a whole number above 0"),
    ("MAX_PIXELS", "1e9", "a whole number above 0"),
    ("MIN_FREE_BYTES", "-1", "a number of bytes, 0 or more"),
    ("MIN_FREE_BYTES", "1 GB", "a number of bytes, 0 or more"),
    ("RETRY_SECONDS", "2m", "a number above 0"),
    ("SETTLING_DAYS", "-1", "a number above -1"),
    ("POLL_SECONDS", "0", "a number above 0"),
    ("LOOK_SECONDS", "0", "a number above 0"),
    ("POSTS_SOURCE", "gopher", "one of api, bigquery, dump, archive"),
    ("TABLES_SOURCE", "API", "one of api, bigquery, dump, archive"),
    ("JPG_ARCHIVE", "on", "one of off, jxl"),
    ("PX512_BACKGROUND", "pink", "one of contrast, white, black"),
    ("FIRST_YEAR", "1999", "a year from 2005, when the site began"),
    ("FIRST_YEAR", "MMXXI", "a year from 2005, when the site began"),
    ("PNG_LEVEL", "9", "a level from 0 to 6"),
    ("PNG_LEVEL", "best", "a level from 0 to 6"),
    ("PX512_QUALITY", "0", "a JPEG quality from 1 to 100"),
    ("PX512_QUALITY", "90%", "a JPEG quality from 1 to 100"),
    ("WEBDATASET", "yes", "on or off"),
    ("TORRENT", "1", "on or off"),
    ("DIALECT_2017", "true", "on or off"),
    ("AUTOMATION", "ON!", "on or off"),
    ("ACCEPT_INCOMPLETE", "tags", _REASONS),
    ("ACCEPT_INCOMPLETE", "tags:", _REASONS),
    ("ACCEPT_INCOMPLETE", "all of it: why not", _REASONS),
    ("PUBLISHER", "a\tb", "one line of text"),
    ("MAKER", "two\nlines", "one line of text"),
    ("REMOVAL_CONTACT", "two\nlines", "one line of text"),
    ("PUBLIC_URL", "data.example.org", _FOLDER),
    ("PUBLIC_URL", "https://x/<b>", _FOLDER),
    ("UI_URL", "127.0.0.1:3000", _HOOK),
    ("SMTP_URL", "hunter2", "an address like smtp://user:password@mail.example.org:587"),
    ("WEBHOOK_URL", "hunter2", _HOOK),
]
