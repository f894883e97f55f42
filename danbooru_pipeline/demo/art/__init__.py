"""Pictures of the embedded booru, drawn from a seed and encoded in every format that the site takes."""
