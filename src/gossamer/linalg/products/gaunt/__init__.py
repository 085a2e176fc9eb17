"""Gaunt products: functions on the sphere multiplied by their coefficients, by one of several engines."""
