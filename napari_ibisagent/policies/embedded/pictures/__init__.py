"""What is found in pictures that are no CT, by their kind: ``rules.sees`` has the rules."""
