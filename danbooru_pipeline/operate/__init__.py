"""What an operator runs beside builds: doctor, preflight, forecast, status, readiness, scrub, removal, messages."""
