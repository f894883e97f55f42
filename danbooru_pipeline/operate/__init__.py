"""What an operator runs beside builds: doctor, forecast, status, readiness, scrub, removal, mirrors, messages."""
