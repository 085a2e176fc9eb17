"""Random matrices that shrink tall ones: sketches."""
