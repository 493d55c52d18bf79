"""Why a closed form and the simulation part: the gap between them, effect by effect."""
