"""Many tasks on local processes or on Ray."""
