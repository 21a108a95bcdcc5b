"""Join the encoder of one agent to the controller of another: methods, pairs, relativized agents, diagnosis."""
