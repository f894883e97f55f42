"""``python -m danbooru_pipeline`` is the command line."""

from danbooru_pipeline.cli.main import main

if __name__ == "__main__":
    main()
