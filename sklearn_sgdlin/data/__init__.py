"""Where rows lie, and how they are visited."""
