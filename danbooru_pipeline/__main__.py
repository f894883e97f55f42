"""``python -m danbooru_pipeline`` is the command line."""

from danbooru_pipeline.cli import main

if __name__ == "__main__":
    main()
