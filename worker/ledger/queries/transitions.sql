SELECT from_state, to_state, cause FROM transitions
