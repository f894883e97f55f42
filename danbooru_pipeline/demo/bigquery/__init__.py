"""A stand-in for the public BigQuery mirror, spoken to by the real client library over REST and gRPC."""
