"""What is found in a CT volume, by Hounsfield units, size, place and shape: ``organs.find`` has the rules."""
