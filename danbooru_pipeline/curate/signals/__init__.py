"""Signals: rules of the site, the tags that go together, and what models of pictures say; and their calibration."""
