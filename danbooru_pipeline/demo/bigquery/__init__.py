"""A stand-in for the public BigQuery mirror, which the real client library talks to over REST and gRPC."""
