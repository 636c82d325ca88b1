"""The agent loop: a plain generator of events, and the rules that stop it."""
