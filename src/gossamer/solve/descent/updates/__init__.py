"""What is done to a block of coordinates once it is chosen."""
