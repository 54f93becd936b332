"""How well the bundled general model forecasts series that it has never seen, beside what else there is for that."""
