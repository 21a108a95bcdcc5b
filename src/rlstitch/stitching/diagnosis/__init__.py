"""What can be known about a stitch before it plays."""
