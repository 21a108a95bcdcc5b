"""What a command ends in: a table for the terminal and a page."""
