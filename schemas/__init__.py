"""The shapes that everybody shares: keys, events, entities, the unified record. Imports nothing of ours."""
