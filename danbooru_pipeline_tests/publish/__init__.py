"""Tests of `danbooru_pipeline.publish`."""
