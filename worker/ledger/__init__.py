"""PostgreSQL, the truth about every order: the only room that talks to it."""
