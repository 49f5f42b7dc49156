"""What is to be run, in which order, and how far it is."""
