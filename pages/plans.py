"""Plans: many runs as one form; how far each plan is, and which of its runs did best."""
# menu: Work, 100, :material/grid_view:

import streamlit as st

from genrecore import ui
from genrecore.experiments import plan as plans
from genrecore.ui.plans import view as planned

ui.page("Plans", "Models, seeds, splits and any list of values, trained as one plan.")

planned.explanation()
found = plans.all_plans()
if planned.choose_view(found) == "plans":
    planned.show(found)
    st.stop()

# Only setting a plan up needs torch.
with st.spinner("Loading torch …"):
    from genrecore.ui.plans import form as plan_form

left, right = ui.pair("plan", left=5, right=3)
with left:
    wanted = plan_form.choices()
with right:
    ui.section("This plan")
    plan_form.panel(wanted)
