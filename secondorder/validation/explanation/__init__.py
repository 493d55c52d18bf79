"""Why a closed form and the simulation differ: the gap between them, effect by effect."""
