"""Regression that outliers do not lead, or that no residual escapes."""
