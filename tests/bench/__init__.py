"""`make bench`: what the hub does per second on this machine, beside named baselines in the same run."""
