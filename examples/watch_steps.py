"""See which tokens each forward commits."""

import redraft

model = redraft.load("redraft-tiny")


def show(event):
    row = event.tokens[0][event.changed[0]].tolist()
    print(f"forward {event.forward:2d} commits {[model.decode([token]) for token in row]}")


redraft.generate(model, "sudoku: 41__2_41_2__3__2 =", max_new_tokens=20, on_step=show)
