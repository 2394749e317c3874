"""Extra parallel data beside the site's own: somebody's JSON Lines or TSV, a hub dataset, back-translated Chinese."""
