"""The processes of production, started for real."""
