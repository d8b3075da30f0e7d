"""The page that a person drives by, in a browser: viser for what is seen, a channel of our own for what is said.

page         what the loop talks to
gate         who may connect
operator     what tabs say and are told
hold         hold-to-run over a network
console      HTML and state of the controls (static/console.js and .css are the browser's side)
lamps        what must be seen at a glance
cameras      pictures
arm_pose     where the arm is
arm_shape    what it looks like
arm_view     both, in 3-D
history      the last half minute in numbers
plots        these, drawn
"""

from vlasteer.launch.page.page import Page

__all__ = ["Page"]
